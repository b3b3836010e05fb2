import Stripe from "stripe";
import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type IntentRequest,
  type PaymentReference,
} from "../payment-gateway.ts";
import { reportIntent } from "./intent-report.ts";
import {
  EXPAND,
  isRepeatedError,
  reportDespiteState,
  reportLatest,
  retrieveIntent,
  searchIntent,
} from "./intent-responses.ts";
import { toStripeAmount } from "./stripe-amount.ts";
import type { StripeClient } from "./stripe-client.ts";
import { METADATA } from "./stripe-objects.ts";

/** Statuses in which a PaymentIntent waits for a confirmation. */
const CONFIRMABLE = ["requires_payment_method", "requires_confirmation"];
const CANCELLABLE = [...CONFIRMABLE, "requires_action", "requires_capture", "processing"];

/** Creates a PaymentIntent, and confirms it if there is a payment method. */
export function createIntent(
  client: StripeClient,
  { capturesInParts }: { capturesInParts: boolean },
  { paymentId, orderId, amount, capture, methodToken }: IntentRequest,
  call: GatewayCall,
): Promise<GatewayReport> {
  const expected = { paymentId, reference: "" };
  return client.run(call, async (stripe) => {
    const params: Stripe.PaymentIntentCreateParams = {
      amount: toStripeAmount(amount),
      currency: amount.currencyCode.toLowerCase(),
      capture_method: capture === "AT_SHIPMENT" ? "manual" : "automatic",
      metadata: { [METADATA.payment]: paymentId, [METADATA.order]: orderId },
      // Redirects would need an address of the shop. Methods without them, as cards and wallets, use the client's page.
      automatic_payment_methods: { enabled: true, allow_redirects: "never" },
      expand: EXPAND,
    };
    if (capturesInParts && capture === "AT_SHIPMENT") {
      params.payment_method_options = { card: { request_multicapture: "if_available" } };
    }
    if (methodToken !== "") Object.assign(params, methodParams(methodToken), { confirm: true });
    try {
      return await reportLatest(stripe, expected, () =>
        stripe.paymentIntents.create(params, { idempotencyKey: `create:${paymentId}` }),
      );
    } catch (error) {
      // The key was used before, with the same outcome or (before the configuration changed) with other parameters.
      if (!isRepeatedError(error) && !(error instanceof Stripe.errors.StripeIdempotencyError)) throw error;
      const created = await searchIntent(stripe, paymentId);
      if (created === undefined) throw error;
      return reportIntent(created);
    }
  });
}

/** Confirms a PaymentIntent with another method or, without one, after the step that the buyer's client has taken. */
export function confirmIntent(
  client: StripeClient,
  request: PaymentReference & { requestId: string; methodToken: string },
  call: GatewayCall,
): Promise<GatewayReport> {
  const { reference, paymentId, requestId, methodToken } = request;
  return client.run(call, async (stripe) => {
    if (methodToken === "") {
      const current = await retrieveIntent(stripe, request);
      if (current.status !== "requires_confirmation") return reportIntent(current);
    }
    const params = { ...(methodToken === "" ? {} : methodParams(methodToken)), expand: EXPAND };
    return reportDespiteState(stripe, request, CONFIRMABLE, () =>
      stripe.paymentIntents.confirm(reference, params, {
        idempotencyKey: `confirm:${paymentId}:${requestId}`,
      }),
    );
  });
}

/** Cancels a PaymentIntent, or returns its state if that is no longer possible. */
export function cancelIntent(
  client: StripeClient,
  request: PaymentReference & { cancelId: string },
  call: GatewayCall,
): Promise<GatewayReport> {
  const { reference, cancelId } = request;
  return client.run(call, (stripe) =>
    reportDespiteState(stripe, request, CANCELLABLE, () =>
      stripe.paymentIntents.cancel(reference, { expand: EXPAND }, { idempotencyKey: `cancel:${cancelId}` }),
    ),
  );
}

/** @throws GatewayError REJECTED for what is no token: it could be the number of a card, so it is not repeated */
function methodParams(token: string): { payment_method: string } | { confirmation_token: string } {
  if (/^pm_\w{1,250}$/.test(token)) return { payment_method: token };
  if (/^ctoken_\w{1,250}$/.test(token)) return { confirmation_token: token };
  throw new GatewayError(
    "REJECTED",
    "The payment method is no token of Stripe (pm_... or ctoken_...). Create it with Stripe.js.",
    { code: "payment_method_invalid" },
  );
}
