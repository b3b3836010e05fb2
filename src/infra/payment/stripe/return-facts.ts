import type { GatewayReport, LedgerEntryType, LedgerFact } from "../payment-gateway.ts";
import { fromStripeAmount } from "./stripe-amount.ts";
import { METADATA, type StripeDispute, type StripeRefund } from "./stripe-objects.ts";

/** Returns what a refund states; undefined if it is not of a PaymentIntent. */
export function reportRefund(refund: StripeRefund): GatewayReport | undefined {
  if (!refund.payment_intent) return undefined;
  return {
    paymentId: refund.metadata?.[METADATA.payment] ?? "",
    reference: refund.payment_intent,
    facts: [refundFact(refund)],
  };
}

/**
 * Returns the state of a refund as a fact. A pending refund is one that Stripe has accepted and taken from the balance: it
 * counts unless it fails.
 */
export function refundFact(refund: StripeRefund): LedgerFact {
  const { id, amount, currency, created, failure_reason: reason, metadata } = refund;
  const requestId = metadata?.[METADATA.refund];
  return {
    type: hasFailed(refund) ? "REFUND_FAILED" : "REFUNDED",
    reference: id,
    amount: fromStripeAmount(amount, currency),
    time: new Date(created * 1_000),
    ...(requestId === undefined ? {} : { requestId }),
    ...(reason ? { note: reason } : {}),
  };
}

/** Returns whether a refund has ended without a payment to the buyer. */
export function hasFailed({ status }: StripeRefund): boolean {
  return status === "failed" || status === "canceled";
}

/** Returns what a dispute states; undefined if it is not of a PaymentIntent. */
export function reportDispute(dispute: StripeDispute): GatewayReport | undefined {
  if (!dispute.payment_intent) return undefined;
  return { paymentId: "", reference: dispute.payment_intent, facts: disputeFacts(dispute) };
}

/** Returns the facts of a dispute. Inquiries (`warning_...`) and prevented disputes withdraw no money, so they state none. */
export function disputeFacts({ id, amount, currency, created, status, reason }: StripeDispute): LedgerFact[] {
  return disputeTypes(status).map((type) => ({
    type,
    reference: id,
    amount: fromStripeAmount(amount, currency),
    ...(type === "DISPUTED" ? { time: new Date(created * 1_000) } : {}),
    ...(reason ? { note: reason } : {}),
  }));
}

/** Source: https://docs.stripe.com/api/disputes/object#dispute_object-status */
function disputeTypes(status: string): LedgerEntryType[] {
  switch (status) {
    case "needs_response":
    case "under_review":
    case "appeal_needs_response":
    case "appeal_under_review":
      return ["DISPUTED"];
    case "won":
      return ["DISPUTED", "DISPUTE_WON"];
    case "lost":
      return ["DISPUTED", "DISPUTE_LOST"];
    default:
      return [];
  }
}
