import type { LedgerEntryType, PaymentStep } from "../../infra/payment/payment-gateway.ts";
import type { PaymentState as OrderPaymentState } from "../state/order-state.ts";

/** The parts of an entry of the ledger that amounts are derived from. */
export interface LedgerAmount {
  type: LedgerEntryType;
  /** Identifies the fact among those of its payment and type. */
  reference: string;
  minorUnits: bigint;
}

/** The amounts of a payment in minor units. They follow from the set of its entries, in whatever order they arrived. */
export interface PaymentMoney {
  authorized: bigint;
  captured: bigint;
  /** Refunds that have not failed. */
  refunded: bigint;
  /** Disputes that are not decided. */
  disputed: bigint;
  /** Disputes that were lost. */
  lost: bigint;
  /** What can be captured. */
  open: bigint;
  isVoided: boolean;
  /** Whether an attempt to authorize it has failed. */
  hasFailed: boolean;
}

/** The amounts of an order in minor units. */
export interface OrderMoney {
  /** Captured, or paid by hand. */
  paid: bigint;
  /** Refunds and lost disputes. */
  refunded: bigint;
  paymentState: OrderPaymentState;
}

/** The state of a payment, as in the contract. */
export type PaymentState = "PENDING" | "ACTION_REQUIRED" | "AUTHORIZED" | "CAPTURED" | "FAILED" | "CANCELLED";

/**
 * Returns the entries that count: of those with the same type and reference the one with the greatest amount. A smaller
 * one could otherwise lower what was captured below the refunds that were requested.
 */
export function countedEntries<Entry extends LedgerAmount>(entries: readonly Entry[]): Entry[] {
  const greatest = new Map<string, Entry>();
  for (const entry of entries) {
    const key = `${entry.type} ${entry.reference}`;
    const other = greatest.get(key);
    if (other === undefined || entry.minorUnits > other.minorUnits) greatest.set(key, entry);
  }
  return [...greatest.values()];
}

/** Derives the amounts of a payment from its entries. */
export function derivePaymentMoney(entries: readonly LedgerAmount[]): PaymentMoney {
  const counted = countedEntries(entries);
  const referencesOf = (...types: LedgerEntryType[]) =>
    new Set(counted.filter(({ type }) => types.includes(type)).map(({ reference }) => reference));
  const sumOf = (type: LedgerEntryType, without: ReadonlySet<string> = new Set()) =>
    counted
      .filter((entry) => entry.type === type && !without.has(entry.reference))
      .reduce((sum, { minorUnits }) => sum + minorUnits, 0n);
  const authorized = sumOf("AUTHORIZED");
  const captured = sumOf("CAPTURED");
  const isVoided = counted.some(({ type }) => type === "VOIDED");
  return {
    authorized,
    captured,
    refunded: sumOf("REFUNDED", referencesOf("REFUND_FAILED")),
    disputed: sumOf("DISPUTED", referencesOf("DISPUTE_WON", "DISPUTE_LOST")),
    lost: sumOf("DISPUTE_LOST", referencesOf("DISPUTE_WON")),
    open: isVoided || authorized < captured ? 0n : authorized - captured,
    isVoided,
    hasFailed: counted.some(({ type }) => type === "AUTHORIZATION_FAILED"),
  };
}

/** Derives the amounts and the payment state of an order from those of its payments. */
export function deriveOrderMoney(payments: readonly PaymentMoney[]): OrderMoney {
  const sum = (amountOf: (payment: PaymentMoney) => bigint) =>
    payments.reduce((total, payment) => total + amountOf(payment), 0n);
  const paid = sum(({ captured }) => captured);
  const refunded = sum((payment) => payment.refunded + payment.lost);
  const open = sum((payment) => payment.open);
  const hasFailed = payments.some(
    (payment) => payment.hasFailed || (payment.isVoided && payment.authorized > 0n),
  );
  return { paid, refunded, paymentState: orderState({ paid, refunded, open, hasFailed }) };
}

function orderState({
  paid,
  refunded,
  open,
  hasFailed,
}: {
  paid: bigint;
  refunded: bigint;
  open: bigint;
  hasFailed: boolean;
}): OrderPaymentState {
  if (refunded > 0n) return refunded >= paid ? "REFUNDED" : "PARTIALLY_REFUNDED";
  if (open > 0n) return "AUTHORIZED";
  if (paid > 0n) return "PAID";
  return hasFailed ? "FAILED" : "UNPAID";
}

/** Returns the state of a payment: that of its money or, without money, its step. */
export function paymentStateOf(money: PaymentMoney, step: PaymentStep): PaymentState {
  if (money.captured > 0n) return "CAPTURED";
  if (money.open > 0n) return "AUTHORIZED";
  if (money.isVoided) return "CANCELLED";
  return money.hasFailed && step === "PENDING" ? "FAILED" : step;
}

/**
 * Returns what of a payment can still be refunded: what was captured, without what was refunded or lost, is disputed or
 * was requested back.
 * @param requested the refunds that were requested by the service and have not failed
 * @param foreign the refunds that the gateway has reported and the service has not requested
 */
export function refundableOf(
  { captured, disputed, lost }: Pick<PaymentMoney, "captured" | "disputed" | "lost">,
  requested: bigint,
  foreign: bigint,
): bigint {
  const left = captured - disputed - lost - requested - foreign;
  return left > 0n ? left : 0n;
}
