/** Number of customers of a run. They are the owners from 1. */
export const CUSTOMERS = 2;
/** The owner of orders for a customer that does not exist. */
export const UNKNOWN_OWNER = CUSTOMERS + 1;

/** Limits of the promotion of a run. */
export const PURCHASE_LIMIT = 5;
export const PURCHASE_LIMIT_PER_USER = 3;

/** Units of one product, by its index in the run. */
export interface Line {
  product: number;
  quantity: number;
}

export interface CreateOrder {
  method: "CreateOrder";
  /** Index of the customer; 0 for a guest. */
  owner: number;
  requestId: number;
  lines: readonly Line[];
  /** Whether the order takes part in the promotion of the run. */
  hasPromotion: boolean;
  validateOnly: boolean;
}

export interface CancelOrder {
  method: "CancelOrder";
  /** Key of the order, as `orderKey` returns it. */
  order: string;
  /** Undefined for a cancellation without one. */
  requestId: number | undefined;
}

export interface AdjustStock {
  method: "AdjustStock";
  product: number;
  delta: number;
  /** Undefined to skip the check. */
  expected: number | undefined;
  requestId: number;
}

/** A count of the units on hand, by AdjustStock. */
export interface Recount {
  method: "Recount";
  product: number;
  onHand: number;
  requestId: number;
}

/** A row of an import: the new stock of a product, and its price. */
export interface ImportLine {
  product: number;
  /** Undefined to leave the stock unchanged. */
  stock: number | undefined;
  price: number;
}

export interface ImportProducts {
  method: "ImportProducts";
  lines: readonly ImportLine[];
  /** Each import of a run has its own: rows are identified by their number, whatever they contain. */
  requestId: number;
}

export type Write = CreateOrder | CancelOrder | AdjustStock | Recount | ImportProducts;

export type Read =
  | { method: "GetOrder"; order: string }
  | { method: "GetProduct"; product: number }
  | { method: "ListOrders"; owner: number };

/** A call of the service. Products, customers and request_ids are indexes into those of the run. */
export type Operation = Write | Read;

/** What a caller sees, apart from ids and times. */
export type Outcome = { code: "OK"; [field: string]: unknown } | { code: string; reason: string };

/** The response of a call, or that none arrived. */
export interface Observation {
  /** Undefined if it is unknown whether the call took effect. */
  outcome: Outcome | undefined;
  /** Id of the created order. */
  orderId?: string;
  /** The encoded response, without what distinguishes a replay. */
  response?: string;
}

/** Returns the key that identifies an order permanently: its owner and request_id. */
export function orderKey({ owner, requestId }: { owner: number; requestId: number }): string {
  return `${owner}/${requestId}`;
}

/** Returns whether an operation is a write. */
export function isWrite(operation: Operation): operation is Write {
  return (
    operation.method !== "GetOrder" && operation.method !== "GetProduct" && operation.method !== "ListOrders"
  );
}
