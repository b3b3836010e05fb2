import type { LedgerPayment, NewEntry } from "../ledger/ledger-rows.ts";
import { sharedAmount } from "./refund-parts.ts";
import type { NewRefund } from "./refund-rows.ts";

/**
 * Returns the entry of the ledger for a refund that staff have made by hand: no gateway states it.
 * @param id of the entry
 */
export function entryOfRefund(id: string, refund: NewRefund, { gateway, currency }: LedgerPayment): NewEntry {
  return {
    id,
    orderId: refund.orderId,
    paymentId: refund.paymentId,
    gateway,
    type: "REFUNDED",
    reference: refund.id,
    minorUnits: sharedAmount(refund.shares),
    currency,
    requestId: refund.id,
    source: "STAFF",
    note: refund.reference,
    gatewayTime: undefined,
    createTime: refund.now,
  };
}
