import {
  type AdjustStock,
  type CancelOrder,
  type CreateOrder,
  type ImportProducts,
  type Line,
  type Operation,
  type Outcome,
  orderKey,
  UNKNOWN_OWNER,
} from "./operation.ts";

/** An order of the model. */
export interface ModelOrder {
  owner: number;
  lines: (Line & { unitPrice: number })[];
  state: "PENDING" | "CANCELLED";
}

/** One state that the shop can be in. */
export interface World {
  products: { stock: number; price: number }[];
  /** Orders by `orderKey`. */
  orders: Record<string, ModelOrder>;
  /** Fingerprints and first outcomes of other methods by method and request_id. */
  requests: Record<string, { fingerprint: string; outcome: Outcome }>;
}

/** The state after an operation, and its outcome. */
export interface Step {
  world: World;
  outcome: Outcome;
}

const REUSED: Outcome = { code: "InvalidArgument", reason: "REQUEST_ID_REUSED" };
const OUT_OF_STOCK: Outcome = { code: "FailedPrecondition", reason: "OUT_OF_STOCK" };

/**
 * Returns what an operation does to a state: the promises of the contract in their simplest form.
 * @param hasId returns whether the id of an order is known to the test, by its key
 */
export function step(world: World, operation: Operation, hasId: (key: string) => boolean): Step {
  switch (operation.method) {
    case "CreateOrder":
      return createOrder(world, operation);
    case "CancelOrder":
      return once(world, operation, cancelOrder);
    case "AdjustStock":
      return once(world, operation, adjustStock);
    case "ImportProducts":
      return once(world, operation, importProducts);
    case "GetOrder":
      return { world, outcome: describeOrder(world.orders[operation.order]) };
    case "GetProduct": {
      // Units that an order took can be one second old in cached responses; availability and prices are current.
      const { stock, price } = productOf(world, operation.product);
      return { world, outcome: { code: "OK", inStock: stock > 0, price } };
    }
    case "ListOrders": {
      const own = Object.entries(world.orders).filter(([, order]) => order.owner === operation.owner);
      const orders = own.map(([key, { state }]) => `${hasId(key) ? key : "unacknowledged"} ${state}`).sort();
      return { world, outcome: { code: "OK", orders } };
    }
  }
}

function createOrder(world: World, { owner, requestId, lines, validateOnly }: CreateOrder): Step {
  const key = orderKey({ owner, requestId });
  const existing = world.orders[key];
  if (existing !== undefined) {
    const isSame = JSON.stringify(existing.lines.map(toLine)) === JSON.stringify(lines.map(toLine));
    // The first response: a replay shows the order as it was placed.
    const first: ModelOrder = { ...existing, state: "PENDING" };
    return { world, outcome: isSame ? describeOrder(first, { replayed: true }) : REUSED };
  }
  if (owner === UNKNOWN_OWNER) return { world, outcome: { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" } };
  const isShort = lines.some(({ product, quantity }) => productOf(world, product).stock < quantity);
  if (isShort) return { world, outcome: OUT_OF_STOCK };
  const priced = lines.map((line) => ({ ...toLine(line), unitPrice: productOf(world, line.product).price }));
  const order: ModelOrder = { owner, lines: priced, state: "PENDING" };
  const outcome = describeOrder(order, { replayed: false });
  if (validateOnly) return { world, outcome };
  const next = moveStock(world, lines, -1);
  return { world: { ...next, orders: { ...next.orders, [key]: order } }, outcome };
}

function cancelOrder(world: World, { order: key }: CancelOrder): Step {
  const order = world.orders[key];
  if (order === undefined) return { world, outcome: { code: "NotFound", reason: "ORDER_NOT_FOUND" } };
  if (order.state !== "PENDING") {
    return { world, outcome: { code: "FailedPrecondition", reason: "ORDER_STATE" } };
  }
  const cancelled: ModelOrder = { ...order, state: "CANCELLED" };
  const next = moveStock(world, order.lines, 1);
  return {
    world: { ...next, orders: { ...next.orders, [key]: cancelled } },
    outcome: describeOrder(cancelled),
  };
}

function adjustStock(world: World, { product, delta, expected }: AdjustStock): Step {
  const { stock } = productOf(world, product);
  if (expected !== undefined && expected !== stock) {
    return { world, outcome: { code: "Aborted", reason: "STOCK_CHANGED" } };
  }
  if (stock + delta < 0) return { world, outcome: OUT_OF_STOCK };
  return {
    world: moveStock(world, [{ product, quantity: delta }], 1),
    outcome: { code: "OK", stock: stock + delta },
  };
}

function importProducts(world: World, { lines }: ImportProducts): Step {
  const products = [...world.products];
  let updated = 0;
  for (const { product, stock, price } of lines) {
    const before = productOf(world, product);
    const after = { stock: stock ?? before.stock, price };
    if (after.stock !== before.stock || after.price !== before.price) updated += 1;
    products[product] = after;
  }
  const outcome = { code: "OK" as const, updated, unchanged: lines.length - updated };
  return { world: { ...world, products }, outcome };
}

/** Runs a method once for each request_id. Only successful calls are remembered. */
function once<W extends CancelOrder | AdjustStock | ImportProducts>(
  world: World,
  operation: W,
  run: (world: World, operation: W) => Step,
): Step {
  if (operation.requestId === undefined) return run(world, operation);
  const key = `${operation.method} ${operation.requestId}`;
  const fingerprint = JSON.stringify(operation);
  const earlier = world.requests[key];
  if (earlier !== undefined) {
    return { world, outcome: earlier.fingerprint === fingerprint ? earlier.outcome : REUSED };
  }
  const { world: next, outcome } = run(world, operation);
  if (outcome.code !== "OK") return { world, outcome };
  return { world: { ...next, requests: { ...next.requests, [key]: { fingerprint, outcome } } }, outcome };
}

function describeOrder(order: ModelOrder | undefined, further: { replayed?: boolean } = {}): Outcome {
  if (order === undefined) return { code: "NotFound", reason: "ORDER_NOT_FOUND" };
  const { lines, state } = order;
  const total = lines.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);
  return { code: "OK", state, lines, total, ...further };
}

function moveStock(world: World, lines: readonly Line[], sign: 1 | -1): World {
  const products = [...world.products];
  for (const { product, quantity } of lines) {
    const { stock, price } = productOf(world, product);
    products[product] = { stock: stock + sign * quantity, price };
  }
  return { ...world, products };
}

function productOf({ products }: World, index: number): { stock: number; price: number } {
  const product = products[index];
  if (product === undefined) throw new Error(`the run has no product ${index}`);
  return product;
}

const toLine = ({ product, quantity }: Line): Line => ({ product, quantity });
