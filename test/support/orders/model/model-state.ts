import {
  type AdjustStock,
  type CancelOrder,
  type CreateOrder,
  type ImportProducts,
  type Line,
  type Operation,
  type Outcome,
  orderKey,
  PURCHASE_LIMIT,
  PURCHASE_LIMIT_PER_USER,
  type Recount,
  UNKNOWN_OWNER,
  type Write,
} from "./operation.ts";

/** A product of the model. */
export interface ModelProduct {
  onHand: number;
  reserved: number;
  price: number;
}

/** An order of the model. */
export interface ModelOrder {
  owner: number;
  hasPromotion: boolean;
  /** Identifies the content of the request. */
  fingerprint: string;
  lines: (Line & { unitPrice: number })[];
  state: "PENDING" | "CANCELLED";
}

/** One state that the shop can be in. */
export interface ModelState {
  products: ModelProduct[];
  /** Orders by `orderKey`. */
  orders: Record<string, ModelOrder>;
  /** Fingerprints and first outcomes of other methods by method and request_id. */
  requests: Record<string, { fingerprint: string; outcome: Outcome }>;
}

/** The state after an operation, and its outcome. */
export interface Step {
  state: ModelState;
  outcome: Outcome;
}

const REUSED: Outcome = { code: "InvalidArgument", reason: "REQUEST_ID_REUSED" };
const OUT_OF_STOCK: Outcome = { code: "FailedPrecondition", reason: "OUT_OF_STOCK" };

/**
 * Returns what an operation does to a state: the promises of the contract in their simplest form.
 * @param hasId returns whether the id of an order is known to the test, by its key
 */
export function step(state: ModelState, operation: Operation, hasId: (key: string) => boolean): Step {
  switch (operation.method) {
    case "CreateOrder":
      return createOrder(state, operation);
    case "CancelOrder":
      return once(state, operation, cancelOrder);
    case "AdjustStock":
      return once(state, operation, adjustStock);
    case "Recount":
      return once(state, operation, recount);
    case "ImportProducts":
      return once(state, operation, importProducts);
    case "GetOrder":
      return { state, outcome: describeOrder(state.orders[operation.order]) };
    case "GetProduct": {
      // Units that an order took can be one second old in cached responses; availability and prices are current.
      const product = productOf(state, operation.product);
      return { state, outcome: { code: "OK", inStock: stockOf(product) > 0, price: product.price } };
    }
    case "ListOrders": {
      const own = Object.entries(state.orders).filter(([, order]) => order.owner === operation.owner);
      const orders = own.map(([key, { state }]) => `${hasId(key) ? key : "unacknowledged"} ${state}`).sort();
      return { state, outcome: { code: "OK", orders } };
    }
  }
}

function createOrder(state: ModelState, operation: CreateOrder): Step {
  const { owner, hasPromotion, validateOnly } = operation;
  const key = orderKey(operation);
  const lines = addUp(operation.lines);
  const fingerprint = JSON.stringify([operation.lines.map(toLine), hasPromotion]);
  const existing = state.orders[key];
  if (existing !== undefined) {
    // The first response: a replay shows the order as it was placed.
    const first: ModelOrder = { ...existing, state: "PENDING" };
    const isSame = existing.fingerprint === fingerprint;
    return { state, outcome: isSame ? describeOrder(first, { replayed: true }) : REUSED };
  }
  if (owner === UNKNOWN_OWNER) return { state, outcome: { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" } };
  const isShort = lines.some(({ product, quantity }) => stockOf(productOf(state, product)) < quantity);
  if (isShort) return { state, outcome: OUT_OF_STOCK };
  const reason = hasPromotion ? rejectPurchases(state, owner, lines.length) : undefined;
  if (reason !== undefined) return { state, outcome: { code: "FailedPrecondition", reason } };
  const priced = lines.map((line) => ({ ...toLine(line), unitPrice: productOf(state, line.product).price }));
  const order: ModelOrder = { owner, hasPromotion, fingerprint, lines: priced, state: "PENDING" };
  const outcome = describeOrder(order, { replayed: false });
  if (validateOnly) return { state, outcome };
  const next = reserve(state, lines, 1);
  return { state: { ...next, orders: { ...next.orders, [key]: order } }, outcome };
}

/** Returns one line for each product, in the order of its first line. */
export function addUp(lines: readonly Line[]): Line[] {
  const sums = new Map<number, number>();
  for (const { product, quantity } of lines) sums.set(product, (sums.get(product) ?? 0) + quantity);
  return [...sums].map(([product, quantity]) => ({ product, quantity }));
}

/** Returns why the promotion rejects purchases; undefined if it does not. Each line of an order is a purchase. */
function rejectPurchases({ orders }: ModelState, owner: number, purchases: number): string | undefined {
  if (owner === 0) return "CUSTOMER_REQUIRED";
  const counted = Object.values(orders).filter(
    ({ hasPromotion, state }) => hasPromotion && state === "PENDING",
  );
  const count = (found: readonly ModelOrder[]) =>
    found.reduce((sum, { lines }) => sum + lines.length, purchases);
  const isExceeded =
    count(counted) > PURCHASE_LIMIT ||
    count(counted.filter((order) => order.owner === owner)) > PURCHASE_LIMIT_PER_USER;
  return isExceeded ? "PURCHASE_LIMIT_REACHED" : undefined;
}

function cancelOrder(state: ModelState, { order: key }: CancelOrder): Step {
  const order = state.orders[key];
  if (order === undefined) return { state, outcome: { code: "NotFound", reason: "ORDER_NOT_FOUND" } };
  if (order.state !== "PENDING") {
    return { state, outcome: { code: "FailedPrecondition", reason: "ORDER_STATE" } };
  }
  const cancelled: ModelOrder = { ...order, state: "CANCELLED" };
  const next = reserve(state, order.lines, -1);
  return {
    state: { ...next, orders: { ...next.orders, [key]: cancelled } },
    outcome: describeOrder(cancelled),
  };
}

function adjustStock(state: ModelState, { product, delta, expected }: AdjustStock): Step {
  const before = productOf(state, product);
  if (expected !== undefined && expected !== stockOf(before)) {
    return { state, outcome: { code: "Aborted", reason: "STOCK_CHANGED" } };
  }
  return setOnHand(state, product, before.onHand + delta);
}

function recount(state: ModelState, { product, onHand }: Recount): Step {
  return setOnHand(state, product, onHand);
}

function setOnHand(state: ModelState, product: number, onHand: number): Step {
  const after = { ...productOf(state, product), onHand };
  if (stockOf(after) < 0) return { state, outcome: OUT_OF_STOCK };
  return {
    state: { ...state, products: state.products.with(product, after) },
    outcome: { code: "OK", stock: stockOf(after), onHand },
  };
}

function importProducts(state: ModelState, { lines }: ImportProducts): Step {
  const products = [...state.products];
  let updated = 0;
  for (const { product, stock, price } of lines) {
    const before = productOf(state, product);
    const after = { ...before, onHand: (stock ?? stockOf(before)) + before.reserved, price };
    if (after.onHand !== before.onHand || after.price !== before.price) updated += 1;
    products[product] = after;
  }
  const outcome = { code: "OK" as const, updated, unchanged: lines.length - updated };
  return { state: { ...state, products }, outcome };
}

/** Runs a method once for each request_id. Only successful calls are remembered. */
function once<W extends Exclude<Write, CreateOrder>>(
  state: ModelState,
  operation: W,
  run: (state: ModelState, operation: W) => Step,
): Step {
  if (operation.requestId === undefined) return run(state, operation);
  const method = operation.method === "Recount" ? "AdjustStock" : operation.method;
  const key = `${method} ${operation.requestId}`;
  const fingerprint = JSON.stringify(operation);
  const earlier = state.requests[key];
  if (earlier !== undefined) {
    return { state, outcome: earlier.fingerprint === fingerprint ? earlier.outcome : REUSED };
  }
  const { state: next, outcome } = run(state, operation);
  if (outcome.code !== "OK") return { state, outcome };
  return { state: { ...next, requests: { ...next.requests, [key]: { fingerprint, outcome } } }, outcome };
}

function describeOrder(order: ModelOrder | undefined, further: { replayed?: boolean } = {}): Outcome {
  if (order === undefined) return { code: "NotFound", reason: "ORDER_NOT_FOUND" };
  const { lines, state, hasPromotion } = order;
  const total = lines.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);
  return { code: "OK", state, lines, total, hasPromotion, ...further };
}

function reserve(state: ModelState, lines: readonly Line[], sign: 1 | -1): ModelState {
  const products = [...state.products];
  for (const { product, quantity } of lines) {
    const before = productOf(state, product);
    products[product] = { ...before, reserved: before.reserved + sign * quantity };
  }
  return { ...state, products };
}

/** Returns the units of a product that can be ordered. */
export function stockOf({ onHand, reserved }: ModelProduct): number {
  return onHand - reserved;
}

function productOf({ products }: ModelState, index: number): ModelProduct {
  const product = products[index];
  if (product === undefined) throw new Error(`the run has no product ${index}`);
  return product;
}

const toLine = ({ product, quantity }: Line): Line => ({ product, quantity });
