import { describeOrder, type ModelLine, unitsLeft } from "./model-order.ts";
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
} from "./operation.ts";

/** Returns what CreateOrder does to a state. */
export function createOrder(state: ModelState, operation: CreateOrder): Step {
  const { owner, hasPromotion, validateOnly } = operation;
  const key = orderKey(operation);
  const lines = addUp(operation.lines);
  const fingerprint = JSON.stringify([operation.lines.map(toLine), hasPromotion]);
  const existing = state.orders[key];
  if (existing !== undefined) {
    const isSame = existing.fingerprint === fingerprint;
    return { state, outcome: isSame ? describeOrder(asPlaced(existing), { replayed: true }) : REUSED };
  }
  if (owner === UNKNOWN_OWNER) return { state, outcome: { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" } };
  const isShort = lines.some(({ product, quantity }) => stockOf(productOf(state, product)) < quantity);
  if (isShort) return { state, outcome: OUT_OF_STOCK };
  const reason = hasPromotion ? rejectPurchases(state, owner, lines.length) : undefined;
  if (reason !== undefined) return { state, outcome: rejected(reason) };
  const order: ModelOrder = {
    owner,
    hasPromotion,
    fingerprint,
    ...newContent(
      lines.map((line) => ({ ...toLine(line), unitPrice: productOf(state, line.product).price })),
    ),
    time: undefined,
    isDue: false,
  };
  const outcome = describeOrder(order, { replayed: false });
  if (validateOnly) return { state, outcome };
  const next = moveStock(state, lines, { onHand: 0, reserved: 1 });
  return { state: { ...next, orders: { ...next.orders, [key]: order } }, outcome };
}

/** Returns the content of a new order. */
export function newContent(lines: readonly (Line & { unitPrice: number })[]) {
  return {
    lines: lines.map(
      ({ product, quantity, unitPrice }): ModelLine => ({
        product,
        quantity,
        unitPrice,
        cancelled: 0,
        fulfilled: 0,
        returned: 0,
      }),
    ),
    payment: "UNPAID",
    closing: "NONE",
    version: 1,
    shipments: [],
    events: ["PLACED"],
    purchases: [],
    hasExpireTime: true,
  };
}

/** Returns an order as the response of its CreateOrder had it. */
export function asPlaced<T extends { lines: readonly ModelLine[] }>(order: T) {
  return { ...order, ...newContent(order.lines) };
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
