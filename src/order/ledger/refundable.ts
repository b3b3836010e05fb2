import { type LedgerPayment, moneyOf } from "./ledger-rows.ts";
import { countedEntries, refundableOf } from "./payment-money.ts";
import { causeOf } from "./settle-requests.ts";

/**
 * Returns what a gateway has refunded without a request of the service, or beyond it, in minor units: refunds in the
 * gateway's own console, and those of requests that are recorded as failed.
 */
export function foreignRefundsOf(payment: LedgerPayment): bigint {
  const { entries, currency, refunds } = payment;
  const refunded = countedEntries(
    entries.filter((entry) => entry.type === "REFUNDED" && entry.currency === currency),
  ).filter(({ reference }) => !isFailed(payment, reference));
  const ofRequest = (id: string) =>
    refunded
      .filter((entry) => causeOf(entry, entries) === id)
      .reduce((sum, { minorUnits }) => sum + minorUnits, 0n);
  const expected = refunds
    .filter(({ state }) => state !== "FAILED")
    .map(({ id, minorUnits }) => least(ofRequest(id), minorUnits))
    .reduce((sum, minorUnits) => sum + minorUnits, 0n);
  return moneyOf(payment).refunded - expected;
}

/**
 * Returns what of a payment was captured in any case, in minor units: of a capture that the gateway has stated with several
 * amounts, the smallest. It rejects refunds of more than it has.
 */
export function certainlyCaptured({ entries, currency }: LedgerPayment): bigint {
  const captures = entries.filter((entry) => entry.type === "CAPTURED" && entry.currency === currency);
  return [...Map.groupBy(captures, ({ reference }) => reference).values()].reduce(
    (sum, [first, ...others]) =>
      sum + others.reduce((amount, { minorUnits }) => least(amount, minorUnits), first?.minorUnits ?? 0n),
    0n,
  );
}

/** Returns what of a payment can still be refunded, in minor units. */
export function refundableAmount(payment: LedgerPayment): bigint {
  const money = { ...moneyOf(payment), captured: certainlyCaptured(payment) };
  return refundableOf(money, payment.requestedRefund, foreignRefundsOf(payment));
}

function isFailed({ entries, currency }: LedgerPayment, reference: string): boolean {
  return entries.some(
    (entry) => entry.type === "REFUND_FAILED" && entry.reference === reference && entry.currency === currency,
  );
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
