import type { LedgerFact } from "../../../../src/infra/payment/payment-gateway.ts";
import type { Line, StoredOrder, StoredPayment } from "../model/payment-shop.ts";
import { sumOf } from "../unreliable-bank.ts";
import type { PaymentFlaw } from "./naive-flaws.ts";

/** Prices of the products, and what the shipping costs, in minor units. */
const PRICES = [1, 2, 3];
const SHIPPING = 3;
const TAX = 0.3;

export interface NaiveItem {
  quantity: number;
  /** Price of all units, with tax. */
  total: number;
  shipped: number;
  refunded: number;
}

export interface NaivePayment {
  id: string;
  reference: string;
  amount: number;
  token: string;
  step: string;
  facts: LedgerFact[];
  isInDoubt: boolean;
}

export interface NaiveRefund {
  id: string;
  paymentId: string;
  amount: number;
  shares: number[];
  isFailed: boolean;
}

export interface NaiveOrder {
  id: string;
  closing: string;
  items: NaiveItem[];
  shipping: number;
  shipments: number;
  payments: NaivePayment[];
  refunds: NaiveRefund[];
  /** Set by the events, one after the other: only the flaw reads it. */
  lastState: string;
}

/** Returns a new order. */
export function newOrder(id: string, lines: readonly Line[], isShipped: boolean): NaiveOrder {
  const items = lines.map(({ product, quantity }): NaiveItem => {
    const price = (PRICES[product] ?? 0) * quantity;
    return { quantity, total: price + Math.round(price * TAX), shipped: 0, refunded: 0 };
  });
  const shipping = isShipped ? SHIPPING : 0;
  return {
    id,
    closing: "NONE",
    items,
    shipping,
    shipments: 0,
    payments: [],
    refunds: [],
    lastState: "UNPAID",
  };
}

export const costOf = ({ items, shipping }: NaiveOrder): number =>
  items.reduce((sum, { total }) => sum + total, shipping);

export const amountOf = ({ facts }: Pick<NaivePayment, "facts">, type: LedgerFact["type"]): number =>
  Number(sumOf({ facts }, type));

export const isVoided = ({ facts }: NaivePayment): boolean => facts.some(({ type }) => type === "VOIDED");

export const openOf = (payment: NaivePayment): number =>
  isVoided(payment) ? 0 : Math.max(amountOf(payment, "AUTHORIZED") - amountOf(payment, "CAPTURED"), 0);

export const requestedOf = ({ refunds }: NaiveOrder, { id }: NaivePayment): number =>
  refunds
    .filter(({ paymentId, isFailed }) => paymentId === id && !isFailed)
    .reduce((sum, { amount }) => sum + amount, 0);

const LAST_STATES: Partial<Record<LedgerFact["type"], string>> = {
  AUTHORIZED: "AUTHORIZED",
  AUTHORIZATION_FAILED: "FAILED",
  VOIDED: "FAILED",
  CAPTURED: "PAID",
  REFUNDED: "REFUNDED",
};

/** Records a fact. Returns whether it is new. */
export function record(
  order: NaiveOrder,
  payment: NaivePayment,
  fact: LedgerFact,
  flaw?: PaymentFlaw,
): boolean {
  order.lastState = LAST_STATES[fact.type] ?? order.lastState;
  const isKnown = payment.facts.some(
    ({ type, reference }) => type === fact.type && reference === fact.reference,
  );
  if (isKnown && flaw !== "a repeated event is counted again") return false;
  payment.facts.push(fact);
  return true;
}

/** Returns the payment state of an order. */
export function stateOf(order: NaiveOrder, flaw?: PaymentFlaw): string {
  if (flaw === "the last event sets the state of the order") return order.lastState;
  const { payments } = order;
  const sum = (amount: (payment: NaivePayment) => number) =>
    payments.reduce((total, payment) => total + amount(payment), 0);
  const paid = sum((payment) => amountOf(payment, "CAPTURED"));
  const refunded = sum((payment) => amountOf(payment, "REFUNDED"));
  if (refunded > 0) return refunded < paid ? "PARTIALLY_REFUNDED" : "REFUNDED";
  if (sum(openOf) > 0) return "AUTHORIZED";
  if (paid > 0) return "PAID";
  const hasFailed = payments.some(
    (payment) =>
      payment.facts.some(({ type }) => type === "AUTHORIZATION_FAILED") ||
      (isVoided(payment) && amountOf(payment, "AUTHORIZED") > 0),
  );
  return hasFailed ? "FAILED" : "UNPAID";
}

/** Returns an order as it is stored. */
export function storedOrder(order: NaiveOrder, flaw?: PaymentFlaw): StoredOrder {
  const { id, closing, items, shipments, refunds } = order;
  const payments = order.payments.map(
    (payment): StoredPayment => ({
      id: payment.id,
      state: payment.step,
      authorized: amountOf(payment, "AUTHORIZED"),
      captured: amountOf(payment, "CAPTURED"),
      refunded: amountOf(payment, "REFUNDED"),
      requested: requestedOf(order, payment),
    }),
  );
  const isClosed = closing !== "NONE";
  return {
    id,
    closing,
    cost: isClosed ? 0 : costOf(order),
    paid: payments.reduce((sum, { captured }) => sum + captured, 0),
    refunded: payments.reduce((sum, payment) => sum + payment.refunded, 0),
    paymentState: stateOf(order, flaw),
    quantities: items.map(({ quantity }) => quantity),
    shipments,
    isShipped: !isClosed && items.every(({ quantity, shipped }) => shipped === quantity),
    payments,
    refunds,
  };
}
