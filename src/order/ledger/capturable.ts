import { type KnownRequest, type LedgerPayment, moneyOf } from "./ledger-rows.ts";
import { isUnfinished } from "./settle-requests.ts";

/** Returns what can be captured of a payment, in minor units: nothing while the gateway is requested to cancel it. */
export function capturableOf(payment: LedgerPayment): bigint {
  return payment.gateway === "manual" || hasRequest(payment, "CANCEL") ? 0n : moneyOf(payment).open;
}

/** Returns whether a request has no definite response yet. */
export function hasRequest({ requests }: LedgerPayment, kind: KnownRequest["kind"]): boolean {
  return requests.some((request) => request.kind === kind && isUnfinished(request));
}
