import type { CaptureMethod, LedgerFact } from "../../../../src/infra/payment/payment-gateway.ts";
import { sumOf } from "../unreliable-bank.ts";
import type { UnreliableGateway } from "../unreliable-gateway.ts";
import type { StoredOrder, StoredPayment } from "./payment-shop.ts";

/** The shop did what the model does not allow. */
export class MoneyViolation extends Error {}

/** @throws MoneyViolation with the description, if it does not hold */
export function assertHolds(holds: boolean, describe: () => string): void {
  if (!holds) throw new MoneyViolation(describe());
}

const json = (value: unknown): string =>
  JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? Number(item) : item));

/** The amounts of facts, in minor units. */
interface Money {
  authorized: number;
  captured: number;
  refunded: number;
  open: number;
  hasFailed: boolean;
}

/** Adds up facts: a set, whatever their order. */
function moneyOf(facts: Iterable<LedgerFact>): Money {
  const all = [...facts];
  const sum = (type: LedgerFact["type"]) => Number(sumOf({ facts: all }, type));
  const has = (type: LedgerFact["type"]) => all.some((fact) => fact.type === type);
  const [authorized, captured] = [sum("AUTHORIZED"), sum("CAPTURED")];
  return {
    authorized,
    captured,
    refunded: sum("REFUNDED"),
    open: has("VOIDED") ? 0 : Math.max(authorized - captured, 0),
    hasFailed: has("AUTHORIZATION_FAILED") || (has("VOIDED") && authorized > 0),
  };
}

function paymentStateOf(payments: readonly Money[]): string {
  const sum = (name: "captured" | "refunded" | "open") =>
    payments.reduce((total, payment) => total + payment[name], 0);
  if (sum("refunded") > 0) return sum("refunded") >= sum("captured") ? "REFUNDED" : "PARTIALLY_REFUNDED";
  if (sum("open") > 0) return "AUTHORIZED";
  if (sum("captured") > 0) return "PAID";
  return payments.some(({ hasFailed }) => hasFailed) ? "FAILED" : "UNPAID";
}

/**
 * Asserts what holds at any time: each order has the amounts and the state that follow from the facts which the gateway has
 * stated, and the shop requests no more than there is.
 */
export function assertFollowsFacts(
  { stated, bank }: UnreliableGateway,
  orders: readonly StoredOrder[],
): void {
  assertHolds(bank.excess.length === 0, () => `the gateway rejected ${bank.excess.join(", ")}`);
  for (const order of orders) {
    const money = order.payments.map(({ id }) => moneyOf(stated.get(id) ?? []));
    const sum = (name: "captured" | "refunded") => money.reduce((total, payment) => total + payment[name], 0);
    const expected = { paid: sum("captured"), refunded: sum("refunded"), state: paymentStateOf(money) };
    const actual = { paid: order.paid, refunded: order.refunded, state: order.paymentState };
    assertHolds(
      json(actual) === json(expected),
      () => `the order is ${json(actual)}; from the facts follows ${json(expected)}: ${json(order)}`,
    );
    for (const payment of order.payments) assertPayment(payment, moneyOf(stated.get(payment.id) ?? []));
    for (const { amount, shares } of order.refunds) {
      const shared = shares.reduce((total, share) => total + share, 0);
      assertHolds(shared === amount, () => `a refund of ${amount} is divided into ${json(shares)}`);
    }
  }
}

function assertPayment(payment: StoredPayment, { authorized, captured, refunded }: Money): void {
  const { requested } = payment;
  const actual = [payment.authorized, payment.captured, payment.refunded];
  assertHolds(
    json(actual) === json([authorized, captured, refunded]),
    () => `the payment ${json(payment)} differs from the facts: ${json([authorized, captured, refunded])}`,
  );
  assertHolds(requested <= captured, () => `more is requested back than was captured: ${json(payment)}`);
}

/**
 * Asserts what holds once all events were delivered, all jobs were run and the gateway was queried: the shop has stored what
 * has really happened, keeps no money of closed orders, and takes that of others once.
 */
export function assertSettled(
  { bank, stated }: UnreliableGateway,
  orders: readonly StoredOrder[],
  capture: CaptureMethod,
): void {
  for (const payment of bank.payments) {
    const unknown = payment.facts.filter((fact) => stated.get(payment.paymentId)?.has(fact) !== true);
    assertHolds(unknown.length === 0, () => `the gateway never stated ${json(unknown)}`);
  }
  for (const order of orders) {
    const ofOrder = bank.payments.filter(({ orderId }) => orderId === order.id);
    const money = ofOrder.map(({ facts }) => moneyOf(facts));
    const kept = money.filter(({ captured, refunded, open }) => captured - refunded + open > 0);
    const sum = kept.reduce((total, { captured, refunded, open }) => total + captured - refunded + open, 0);
    const describe = (problem: string) => () => `${problem}: ${json(order)}, really ${json(money)}`;
    const isClosed = order.closing === "CANCELLED" || order.closing === "EXPIRED";
    assertHolds(!isClosed || sum === 0, describe("a closed order keeps money"));
    assertHolds(kept.length <= 1, describe("an order is paid twice"));
    assertHolds(sum <= order.cost, describe("an order has more money than it costs"));
    assertHolds(order.closing !== "EXPIRING", describe("an expiry has not ended"));
    const captures = ofOrder.flatMap(({ facts }) => facts.filter(({ type }) => type === "CAPTURED"));
    const isOften = capture === "AT_SHIPMENT" && captures.length > order.shipments;
    assertHolds(!isOften, describe("there are more captures than shipments"));
    const isDue = order.isShipped && !isClosed && order.paymentState === "AUTHORIZED";
    assertHolds(!isDue, describe("a shipped order is not captured"));
  }
}
