import type { z } from "zod";
import type { GatewayConfig } from "../infra/payment/create-gateway.ts";
import type { CaptureMethod } from "../infra/payment/payment-gateway.ts";
import type { environment } from "./variables.ts";

type Values = z.output<typeof environment>;

/** How orders are paid, besides by hand. */
export type PaymentConfig = Readonly<
  GatewayConfig & {
    /** When payments are captured. */
    capture: CaptureMethod;
    /** Time limit of one call of the gateway, in milliseconds. */
    timeoutMs: number;
  }
>;

const STRIPE_VARIABLES = [
  "STRIPE_SECRET_KEY",
  "STRIPE_PUBLISHABLE_KEY",
  "STRIPE_WEBHOOK_SECRET",
  "STRIPE_API_URL",
] as const;

/** Returns the gateway: the sandbox is the default with an embedded database only, which is no shop's own. */
function gatewayOf({ PAYMENT_GATEWAY, DATABASE_URL }: Values): PaymentConfig["gateway"] {
  return PAYMENT_GATEWAY ?? (DATABASE_URL === undefined ? "sandbox" : "none");
}

/** Returns the mistakes of variables that contradict each other. */
export function findPaymentMistakes(values: Values): string[] {
  const isStripe = gatewayOf(values) === "stripe";
  const required = isStripe ? (["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"] as const) : [];
  const unused = isStripe ? [] : STRIPE_VARIABLES;
  return [
    ...required
      .filter((name) => values[name] === undefined)
      .map((name) => `  ${name}: is required with PAYMENT_GATEWAY=stripe`),
    ...unused
      .filter((name) => values[name] !== undefined)
      .map((name) => `  ${name}: needs PAYMENT_GATEWAY=stripe`),
  ];
}

/** Returns the configuration of payments. */
export function readPaymentConfig(values: Values): PaymentConfig {
  const { STRIPE_SECRET_KEY: secretKey, STRIPE_WEBHOOK_SECRET: webhookSecrets } = values;
  const gateway = gatewayOf(values);
  const hasStripe = gateway === "stripe" && secretKey !== undefined && webhookSecrets !== undefined;
  return {
    gateway,
    capture: values.PAYMENT_CAPTURE === "order" ? "AT_ORDER" : "AT_SHIPMENT",
    timeoutMs: values.PAYMENT_TIMEOUT_MS,
    stripe: hasStripe
      ? {
          secretKey,
          publishableKey: values.STRIPE_PUBLISHABLE_KEY ?? "",
          webhookSecrets,
          apiUrl: values.STRIPE_API_URL,
          capturesInParts: values.STRIPE_MULTICAPTURE,
        }
      : undefined,
  };
}
