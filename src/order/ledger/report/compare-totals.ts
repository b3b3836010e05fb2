import { type DiscrepancyKind, type NewDiscrepancy, newDiscrepancy } from "../discrepancies.ts";
import { type LedgerPayment, moneyOf } from "../ledger-rows.ts";
import { isUnfinished } from "../settle-requests.ts";
import type { ReportContext } from "./apply-report.ts";
import type { Report } from "./report.ts";

/** Compares the sums of a payment with those that the gateway states, unless a request may still change them. */
export function compareTotals(
  context: ReportContext,
  { statement }: Report,
  payment: LedgerPayment,
): NewDiscrepancy[] {
  const { totals } = statement;
  if (totals === undefined || payment.requests.some(isUnfinished)) return [];
  const { captured, refunded } = moneyOf(payment);
  const money = (minorUnits: bigint) => ({ currencyCode: payment.currency, minorUnits });
  const compare = (kind: DiscrepancyKind, noun: string, ledger: bigint, stated: bigint): NewDiscrepancy[] => {
    if (ledger === stated) return [];
    const description = `The ledger has ${ledger} ${noun} minor units. The gateway states ${stated}.`;
    const { id, orderId, gateway } = payment;
    const subject = { orderId, paymentId: id, gateway, reference: id };
    const amounts = { expected: money(ledger), actual: money(stated) };
    return [newDiscrepancy(context, kind, subject, { description, ...amounts })];
  };
  return [
    ...compare("CAPTURED_MISMATCH", "captured", captured, totals.captured),
    ...compare("REFUNDED_MISMATCH", "refunded", refunded, totals.refunded),
  ];
}
