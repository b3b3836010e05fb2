import type { OrderContent } from "./model-order.ts";
import type { Line, Outcome } from "./operation.ts";

/** A product of the model. */
export interface ModelProduct {
  onHand: number;
  reserved: number;
  price: number;
}

/** An order of the model. */
export interface ModelOrder extends OrderContent {
  owner: number;
  /** Identifies the content of the request. */
  fingerprint: string;
  /** Index of the expire time that was set last; undefined for another one or none. */
  time: number | undefined;
  /** Whether the expire time has passed, so that workers may expire the order. */
  isDue: boolean;
}

/** One state that the shop can be in. */
export interface ModelState {
  products: ModelProduct[];
  /** Orders by `orderKey`. */
  orders: Record<string, ModelOrder>;
  /** Fingerprints and first outcomes of other methods by method and request_id. */
  requests: Record<string, { fingerprint: string; outcome: Outcome }>;
  /** Orders by the request_id of the ShipOrder of their shipments, in the order of the shipments. */
  shipments: Record<number, { order: string; index: number }>;
}

/** The state after an operation, and its outcome. */
export interface Step {
  state: ModelState;
  outcome: Outcome;
}

export const REUSED: Outcome = { code: "InvalidArgument", reason: "REQUEST_ID_REUSED" };
export const FIELD_REQUIRED: Outcome = { code: "InvalidArgument", reason: "FIELD_REQUIRED" };
export const ORDER_NOT_FOUND: Outcome = { code: "NotFound", reason: "ORDER_NOT_FOUND" };
export const OUT_OF_STOCK = rejected("OUT_OF_STOCK");

/** Returns the outcome of a call that the state of the shop forbids. */
export function rejected(reason: string): Outcome {
  return { code: "FailedPrecondition", reason };
}

/** Returns the units of a product that can be ordered. */
export function stockOf({ onHand, reserved }: ModelProduct): number {
  return onHand - reserved;
}

/** Returns a product of a state. */
export function productOf({ products }: ModelState, index: number): ModelProduct {
  const product = products[index];
  if (product === undefined) throw new Error(`the run has no product ${index}`);
  return product;
}

/** Returns a state with changed units of the products of lines. */
export function moveStock(
  state: ModelState,
  lines: readonly Line[],
  { onHand, reserved }: { onHand: number; reserved: number },
): ModelState {
  const products = [...state.products];
  for (const { product, quantity } of lines) {
    const before = products[product] ?? productOf(state, product);
    products[product] = {
      ...before,
      onHand: before.onHand + onHand * quantity,
      reserved: before.reserved + reserved * quantity,
    };
  }
  return { ...state, products };
}
