import { type FakeAccount, findIntent, refundedOf } from "./fake-account.ts";
import { type FakeDispute, type FakeIntent, type FakeRefund, invalidRequest } from "./fake-objects.ts";
import { amountParam, assertKnown, type FakeParams, metadataParam, requiredParam } from "./fake-params.ts";

/** Creates a refund. With `pm_card_pendingRefund` it stays pending, with `pm_card_refundFail` it fails after its creation. */
export function createFakeRefund(account: FakeAccount, params: FakeParams): FakeRefund {
  assertKnown(params, ["payment_intent", "amount", "metadata[*]", "reason"]);
  const intent = findIntent(account, requiredParam(params, "payment_intent"));
  const left = intent.amount_received - refundedOf(account, intent.id);
  const amount = params.has("amount") ? amountParam(params, "amount") : left;
  if (amount > left || left === 0) {
    throw invalidRequest("charge_already_refunded", `Refund amount (${amount}) is greater than ${left}.`);
  }
  const refund: FakeRefund = {
    id: account.newId("re"),
    object: "refund",
    amount,
    charge: intent.latest_charge,
    created: account.now(),
    currency: intent.currency,
    metadata: metadataParam(params),
    payment_intent: intent.id,
    status: intent.payment_method === "pm_card_pendingRefund" ? "pending" : "succeeded",
  };
  account.refunds.set(refund.id, refund);
  account.emit("refund.created", refund);
  const response = structuredClone(refund);
  if (intent.payment_method === "pm_card_refundFail") endFakeRefund(account, refund.id, "failed");
  return response;
}

/** Ends a refund as the bank of the buyer does. */
export function endFakeRefund(account: FakeAccount, id: string, status: "succeeded" | "failed"): void {
  const refund = account.refunds.get(id);
  if (refund === undefined) throw invalidRequest("resource_missing", `No such refund: '${id}'`, 404);
  refund.status = status;
  if (status === "failed") refund.failure_reason = "expired_or_canceled_card";
  account.emit(status === "failed" ? "refund.failed" : "refund.updated", refund);
}

/** Opens a dispute, as the bank of the buyer does. */
export function openDispute(account: FakeAccount, intent: FakeIntent, amount: number): FakeDispute {
  const dispute: FakeDispute = {
    id: account.newId("dp"),
    object: "dispute",
    amount,
    charge: intent.latest_charge,
    created: account.now(),
    currency: intent.currency,
    payment_intent: intent.id,
    reason: "fraudulent",
    status: "needs_response",
  };
  account.disputes.set(dispute.id, dispute);
  account.emit("charge.dispute.created", dispute);
  return dispute;
}

/** Decides a dispute. */
export function closeDispute(account: FakeAccount, id: string, status: "won" | "lost"): void {
  const dispute = account.disputes.get(id);
  if (dispute === undefined) throw invalidRequest("resource_missing", `No such dispute: '${id}'`, 404);
  dispute.status = status;
  account.emit("charge.dispute.closed", dispute);
}
