import type { LedgerEntryType } from "../../../infra/payment/payment-gateway.ts";
import type { OrderChange } from "../../change/apply-changes.ts";
import type { StoredEntry } from "../../change/event-details.ts";
import { isSaleMissing } from "../../change/promotion-purchases.ts";
import type { Order } from "../../order-types.ts";
import { isUnpaid } from "../../state/order-state.ts";
import type { OrderEventType } from "../../state/transitions.ts";
import { type LedgerPayment, moneyOf, type NewEntry } from "../ledger-rows.ts";
import { deriveOrderMoney, type OrderMoney } from "../payment-money.ts";
import { causeOf } from "../settle-requests.ts";

/** The events of entries, the most important one first: entries that arrive together are one change. */
const EVENTS: readonly (readonly [LedgerEntryType, OrderEventType])[] = [
  ["DISPUTE_LOST", "DISPUTE_CLOSED"],
  ["DISPUTE_WON", "DISPUTE_CLOSED"],
  ["DISPUTED", "DISPUTED"],
  ["REFUND_FAILED", "REFUND_FAILED"],
  ["REFUNDED", "REFUNDED"],
  ["CAPTURED", "PAID"],
  ["VOIDED", "PAYMENT_RELEASED"],
  ["AUTHORIZED", "PAYMENT_AUTHORIZED"],
  ["CAPTURE_FAILED", "PAYMENT_FAILED"],
  ["AUTHORIZATION_FAILED", "PAYMENT_FAILED"],
];

/**
 * Returns the amounts and the payment state of an order from the ledger of its payments. An order that was settled without
 * money, since nothing of it was due, stays paid until money moves.
 */
export function orderMoneyOf(order: Order, payments: readonly LedgerPayment[]): OrderMoney {
  const money = deriveOrderMoney(payments.map(moneyOf));
  const isSettled = order.paymentState === "PAID" && order.paid.minorUnits === 0n;
  const hasMoved = money.paid > 0n || money.refunded > 0n;
  return isSettled && !hasMoved ? { ...money, paymentState: "PAID" } : money;
}

/**
 * Returns the change of an order by new entries of its payments; undefined without entries in its currency.
 * @param payments all payments of the order, with the entries
 */
export function recordedChange(
  order: Order,
  payments: readonly LedgerPayment[],
  newEntries: readonly NewEntry[],
  now: Date,
): OrderChange | undefined {
  const entries = newEntries.filter(({ currency }) => currency === order.paid.currencyCode);
  const [type, event] = EVENTS.find(([one]) => entries.some((entry) => entry.type === one)) ?? [];
  const [first] = entries.filter((entry) => entry.type === type);
  if (first === undefined || event === undefined) return undefined;
  const { paid, refunded, paymentState } = orderMoneyOf(order, payments);
  const money = (minorUnits: bigint) => ({ ...order.paid, minorUnits });
  const refunds = payments.flatMap((payment) => payment.refunds);
  const known = payments.find(({ id }) => id === first.paymentId)?.entries ?? [];
  const refundId = refunds.find(({ id }) => id === causeOf(first, known))?.id;
  const amount = entries
    .filter((entry) => entry.type === type && entry.paymentId === first.paymentId)
    .reduce((sum, { minorUnits }) => sum + minorUnits, 0n);
  return {
    order,
    transition: "RECORD_ENTRIES",
    event,
    set: {
      paid: money(paid),
      refunded: money(refunded),
      paymentState,
      salesRecorded: order.salesRecorded || isSold(order, paymentState),
    },
    details: {
      amount: amount.toString(),
      paymentId: first.paymentId,
      ...(refundId !== undefined && { refundId }),
      entries: entries.map(
        ({ type: kind, paymentId, minorUnits }): StoredEntry => ({
          type: kind,
          paymentId,
          amount: minorUnits.toString(),
        }),
      ),
    },
    now,
  };
}

/** Returns whether the units of an order become sales of its promotion with a new payment state. */
export function isSold(order: Order, paymentState: Order["paymentState"]): boolean {
  const isWaiting = order.closing === "NONE" || order.closing === "EXPIRING";
  return isSaleMissing(order) && isWaiting && !isUnpaid(paymentState);
}
