import { describeOrder, type ModelLine, type QuotedContent, totalOf, unitsLeft } from "./model-order.ts";
import {
  type ModelOrder,
  type ModelState,
  moveStock,
  OUT_OF_STOCK,
  productOf,
  REUSED,
  rejected,
  type Step,
  stockOf,
} from "./model-state.ts";
import {
  type CreateOrder,
  type Line,
  orderKey,
  PURCHASE_LIMIT,
  PURCHASE_LIMIT_PER_USER,
  UNKNOWN_OWNER,
  ZONE,
} from "./operation.ts";

/** Returns what CreateOrder does to a state. */
export function createOrder(state: ModelState, operation: CreateOrder): Step {
  const { owner, hasPromotion, validateOnly } = operation;
  const key = orderKey(operation);
  const lines = addUp(operation.lines);
  const { isShipped, expectedTotal } = operation;
  const fingerprint = JSON.stringify([operation.lines.map(toLine), hasPromotion, isShipped, expectedTotal]);
  const existing = state.orders[key];
  if (existing !== undefined) {
    const isSame = existing.fingerprint === fingerprint;
    return { state, outcome: isSame ? describeOrder(asPlaced(existing), { replayed: true }) : REUSED };
  }
  if (owner === UNKNOWN_OWNER) return { state, outcome: { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" } };
  const isShort = lines.some(({ product, quantity }) => stockOf(productOf(state, product)) < quantity);
  if (isShort) return { state, outcome: OUT_OF_STOCK };
  const quoted = quote(state, lines, isShipped);
  if (expectedTotal !== undefined && expectedTotal !== totalOf(quoted)) {
    return { state, outcome: rejected("QUOTE_CHANGED") };
  }
  const reason = hasPromotion ? rejectPurchases(state, owner, lines.length) : undefined;
  if (reason !== undefined) return { state, outcome: rejected(reason) };
  const order: ModelOrder = {
    owner,
    hasPromotion,
    fingerprint,
    ...asPlaced(quoted),
    time: undefined,
    isDue: false,
  };
  const outcome = describeOrder(order, { replayed: false });
  if (validateOnly) return { state, outcome };
  const next = moveStock(state, lines, { onHand: 0, reserved: 1 });
  return { state: { ...next, orders: { ...next.orders, [key]: order } }, outcome };
}

/** Returns what QuoteOrder does to a state. */
export function quoteOrder(
  state: ModelState,
  operation: { lines: readonly Line[]; isShipped: boolean },
): Step {
  const quoted = quote(state, addUp(operation.lines), operation.isShipped);
  const lines = quoted.lines.map((line) => ({
    ...line,
    isAvailable: line.quantity <= stockOf(productOf(state, line.product)),
  }));
  return { state, outcome: { code: "OK", lines, total: totalOf(quoted) } };
}

/** Returns the total that a new order has now. */
export function quotedTotal(
  state: ModelState,
  order: { lines: readonly Line[]; isShipped: boolean },
): number {
  return totalOf(quote(state, addUp(order.lines), order.isShipped));
}

/** Returns lines with their prices and taxes, and the price of their shipping with its tax. */
function quote(state: ModelState, lines: readonly Line[], isShipped: boolean) {
  const taxOf = (price: number) => (isShipped ? Math.floor((price * ZONE.taxPercent + 50) / 100) : 0);
  return {
    lines: lines.map(({ product, quantity }) => {
      const unitPrice = productOf(state, product).price;
      return { product, quantity, unitPrice, tax: taxOf(quantity * unitPrice) };
    }),
    shipping: isShipped ? ZONE.shippingPrice + taxOf(ZONE.shippingPrice) : 0,
  };
}

/** Returns an order as the response of its CreateOrder had it. */
export function asPlaced<T extends QuotedContent>(order: T) {
  return {
    ...order,
    lines: order.lines.map(
      ({ product, quantity, unitPrice, tax }): ModelLine => ({
        product,
        quantity,
        unitPrice,
        tax,
        cancelled: 0,
        fulfilled: 0,
        returned: 0,
      }),
    ),
    payment: "UNPAID",
    paid: 0,
    closing: "NONE",
    version: 1,
    shipments: [],
    events: ["PLACED"],
    purchases: [],
    hasExpireTime: true,
  };
}

/** Returns one line for each product, in the order of its first line. */
export function addUp(lines: readonly Line[]): Line[] {
  const sums = new Map<number, number>();
  for (const { product, quantity } of lines) sums.set(product, (sums.get(product) ?? 0) + quantity);
  return [...sums].map(([product, quantity]) => ({ product, quantity }));
}

/**
 * Returns why the promotion rejects purchases; undefined if it does not. Each line of an order is a purchase from its
 * creation, until its last unit is cancelled or returned.
 */
function rejectPurchases({ orders }: ModelState, owner: number, purchases: number): string | undefined {
  if (owner === 0) return "CUSTOMER_REQUIRED";
  const counted = Object.values(orders).filter(({ hasPromotion }) => hasPromotion);
  const count = (found: readonly ModelOrder[]) =>
    found.reduce((sum, { lines }) => sum + lines.filter((line) => unitsLeft(line) > 0).length, purchases);
  const isExceeded =
    count(counted) > PURCHASE_LIMIT ||
    count(counted.filter((order) => order.owner === owner)) > PURCHASE_LIMIT_PER_USER;
  return isExceeded ? "PURCHASE_LIMIT_REACHED" : undefined;
}

const toLine = ({ product, quantity }: Line): Line => ({ product, quantity });
