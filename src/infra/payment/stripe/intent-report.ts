import type { GatewayReport, LedgerFact, PaymentFailure, PaymentStep } from "../payment-gateway.ts";
import { fromStripeAmount } from "./stripe-amount.ts";
import { METADATA, type StripeCharge, type StripeIntent } from "./stripe-objects.ts";

const MAX_MESSAGE_LENGTH = 500;

/** Returns what a PaymentIntent states about the money of a payment. Responses and webhooks yield the same facts. */
export function reportMoney(intent: StripeIntent): GatewayReport {
  return {
    paymentId: intent.metadata?.[METADATA.payment] ?? "",
    reference: intent.id,
    amount: fromStripeAmount(intent.amount, intent.currency),
    facts: [...authorizationFacts(intent), ...captureFacts(intent)],
  };
}

/** Returns what a response states: its money, its step and what the buyer's client needs. */
export function reportIntent(intent: StripeIntent): GatewayReport {
  const captureBefore = chargeOf(intent)?.payment_method_details?.card?.capture_before;
  const failure = failureOf(intent);
  return {
    ...reportMoney(intent),
    step: stepOf(intent),
    clientSecret: intent.client_secret ?? undefined,
    captureBefore:
      intent.status === "requires_capture" && captureBefore ? new Date(captureBefore * 1_000) : undefined,
    failure,
  };
}

function authorizationFacts(intent: StripeIntent): LedgerFact[] {
  const { id, amount, currency, status, amount_received: received } = intent;
  const isManual = intent.capture_method === "manual";
  const time = timeOf(intent);
  const facts: LedgerFact[] = [];
  // A cancelled intent does not tell whether it was authorized; its charge does.
  const wasAuthorized =
    status === "requires_capture" ||
    received > 0 ||
    (status === "canceled" && chargeOf(intent)?.status === "succeeded");
  if (isManual && wasAuthorized) {
    facts.push({ type: "AUTHORIZED", reference: id, amount: fromStripeAmount(amount, currency), ...time });
  }
  if (status === "canceled" || (isManual && status === "succeeded" && received < amount)) {
    facts.push({ type: "VOIDED", reference: id, amount: fromStripeAmount(amount - received, currency) });
  }
  const failure = failureOf(intent);
  if (failure !== undefined) {
    facts.push({
      type: "AUTHORIZATION_FAILED",
      reference: failedAttemptOf(intent),
      amount: fromStripeAmount(amount, currency),
      note: failure.message,
    });
  }
  return facts;
}

/**
 * Returns the capture. The metadata name ours; with several captures the received amount is the sum of all, of which the
 * metadata state the amount of the latest.
 */
function captureFacts(intent: StripeIntent): LedgerFact[] {
  const { id, currency, amount_received: received, latest_charge: charge, metadata } = intent;
  if (received === 0) return [];
  const captureId = metadata?.[METADATA.capture];
  const time = timeOf(intent);
  if (captureId === undefined) {
    const reference = (typeof charge === "string" ? charge : charge?.id) ?? id;
    return [{ type: "CAPTURED", reference, amount: fromStripeAmount(received, currency), ...time }];
  }
  const requested = Number(metadata?.[METADATA.captureAmount] ?? received);
  const isOneOfSeveral = isMulticapture(intent) && Number.isSafeInteger(requested) && requested > 0;
  const amount = isOneOfSeveral ? Math.min(requested, received) : received;
  return [
    {
      type: "CAPTURED",
      reference: captureId,
      requestId: captureId,
      amount: fromStripeAmount(amount, currency),
      ...time,
    },
  ];
}

/** Returns whether several captures were requested for a PaymentIntent. */
function isMulticapture(intent: StripeIntent): boolean {
  return intent.payment_method_options?.card?.request_multicapture === "if_available";
}

/** Returns the reference of the latest failed attempt: its charge or, if it failed before a charge, its payment method. */
function failedAttemptOf({ id, last_payment_error: error }: StripeIntent): string {
  return error?.charge ?? (error?.payment_method ? `${id} ${error.payment_method.id}` : id);
}

function failureOf({ status, last_payment_error: error }: StripeIntent): PaymentFailure | undefined {
  if (status !== "requires_payment_method" || !error) return undefined;
  return {
    code: error.decline_code ?? error.code ?? "payment_failed",
    message: (error.message ?? "The payment failed.").slice(0, MAX_MESSAGE_LENGTH),
  };
}

/** Returns the step of an intent without money. Source: https://docs.stripe.com/payments/paymentintents/lifecycle */
function stepOf(intent: StripeIntent): PaymentStep | undefined {
  switch (intent.status) {
    case "requires_payment_method":
      return failureOf(intent) === undefined ? "ACTION_REQUIRED" : "FAILED";
    case "requires_confirmation":
    case "requires_action":
      return "ACTION_REQUIRED";
    case "processing":
      return "PENDING";
    case "canceled":
      return "CANCELLED";
    default:
      return undefined;
  }
}

/** Returns the charge if the request has expanded it. */
export function chargeOf({ latest_charge: charge }: StripeIntent): StripeCharge | undefined {
  return typeof charge === "object" && charge !== null ? charge : undefined;
}

function timeOf(intent: StripeIntent): { time?: Date } {
  const charge = chargeOf(intent);
  return charge === undefined ? {} : { time: new Date(charge.created * 1_000) };
}
