import { internalCall } from "../../kernel/call.ts";
import type { PaymentGateway } from "./payment-gateway.ts";
import { createSandbox, readWebhookSecrets, type SandboxOptions } from "./sandbox/sandbox.ts";
import type { WebhookDelivery } from "./sandbox/webhook/delivery.ts";
import type { StripeOptions } from "./stripe/stripe-gateway.ts";

/** The gateway to create. */
export interface GatewayConfig {
  /** none: orders are paid by hand only. */
  gateway: "none" | "sandbox" | "stripe";
  /** Undefined unless Stripe is the gateway. */
  stripe: StripeOptions | undefined;
}

/** Dependencies of the gateways. */
export type GatewayDependencies = Omit<SandboxOptions, "secrets">;

/** The gateway of new payments. */
export interface ConfiguredGateway {
  gateway: PaymentGateway;
  /**
   * Delivers the webhooks of the sandbox to the server of this process; undefined for gateways that send theirs from
   * elsewhere.
   */
  deliverTo: ((serverUrl: string) => WebhookDelivery) | undefined;
}

/** Creates the gateway of the configuration; undefined for none. */
export async function createGateway(
  { gateway, stripe }: GatewayConfig,
  dependencies: GatewayDependencies,
): Promise<ConfiguredGateway | undefined> {
  switch (gateway) {
    case "none":
      return undefined;
    case "sandbox": {
      const secrets = await readWebhookSecrets(dependencies.db, internalCall());
      const sandbox = createSandbox({ ...dependencies, secrets });
      return { gateway: sandbox, deliverTo: sandbox.deliverTo };
    }
    case "stripe": {
      if (stripe === undefined) throw new Error("PAYMENT_GATEWAY=stripe has no configuration of Stripe");
      // The package takes 0.3 s and 37 MB to load, which starts without Stripe do not pay.
      const { createStripeGateway } = await import("./stripe/stripe-gateway.ts");
      return { gateway: createStripeGateway(stripe), deliverTo: undefined };
    }
  }
}
