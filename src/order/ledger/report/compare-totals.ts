import type { DiscrepancyKind, NewDiscrepancy } from "../discrepancies.ts";
import { type LedgerPayment, moneyOf } from "../ledger-rows.ts";
import { isUnfinished } from "../settle-requests.ts";
import type { ReportContext } from "./apply-report.ts";
import type { Report } from "./report.ts";

/** Compares the sums of a payment with those that the gateway states, unless a request may still change them. */
export function compareTotals(
  { ids, now }: ReportContext,
  { gateway, statement }: Report,
  payment: LedgerPayment,
): NewDiscrepancy[] {
  const { totals } = statement;
  if (totals === undefined || payment.requests.some(isUnfinished)) return [];
  const { captured, refunded } = moneyOf(payment);
  const compare = (
    kind: DiscrepancyKind,
    noun: string,
    expected: bigint,
    actual: bigint,
  ): NewDiscrepancy[] => {
    if (expected === actual) return [];
    const money = (minorUnits: bigint) => ({ currencyCode: payment.currency, minorUnits });
    return [
      {
        id: ids(),
        kind,
        orderId: payment.orderId,
        paymentId: payment.id,
        gateway,
        reference: payment.id,
        expected: money(expected),
        actual: money(actual),
        description: `The ledger has ${expected} ${noun} minor units, the gateway states ${actual}.`,
        createTime: now,
      },
    ];
  };
  return [
    ...compare("CAPTURED_MISMATCH", "captured", captured, totals.captured),
    ...compare("REFUNDED_MISMATCH", "refunded", refunded, totals.refunded),
  ];
}
