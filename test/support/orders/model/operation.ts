/** Number of customers of a run. They are the owners from 1. */
export const CUSTOMERS = 2;
/** The owner of orders for a customer that does not exist. */
export const UNKNOWN_OWNER = CUSTOMERS + 1;

/** Limits of the promotion of a run. */
export const PURCHASE_LIMIT = 5;
export const PURCHASE_LIMIT_PER_USER = 3;

/** The zone of a test: its tax, on top of prices, and its shipping option. */
export const ZONE = { countryCode: "FR", optionId: "standard", shippingPrice: 2, taxPercent: 30 };

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
  /** Whether the order has an address and a shipping option, with the tax and the price of the zones of the test. */
  isShipped: boolean;
  /** The total that the buyer has seen; undefined to skip the check. */
  expectedTotal: number | undefined;
  validateOnly: boolean;
}

/** The fields of all changes of an order. */
interface ChangeOrder {
  /** Key of the order, as `orderKey` returns it. */
  order: string;
  /** The expected version of the order; undefined for any. */
  etag: number | undefined;
}

export interface CancelOrder extends ChangeOrder {
  method: "CancelOrder";
  /** Undefined for a call without one. */
  requestId: number | undefined;
}

export interface MarkOrderPaid extends ChangeOrder {
  method: "MarkOrderPaid";
  amount: number;
  requestId: number;
}

/** Units of an item, by its index in the order. */
export interface ItemUnits {
  item: number;
  quantity: number;
}

export interface ShipOrder extends ChangeOrder {
  method: "ShipOrder";
  /** Empty for all open units. */
  items: readonly ItemUnits[];
  requestId: number;
}

export interface DeliverOrder extends ChangeOrder {
  method: "DeliverOrder";
  /** The shipment of the ShipOrder with this request_id; undefined for all shipments of the order. */
  shipment: number | undefined;
  /** Undefined for a call without one. */
  requestId: number | undefined;
}

export interface CancelOrderItems extends ChangeOrder {
  method: "CancelOrderItems";
  items: readonly ItemUnits[];
  requestId: number;
}

export interface ReturnOrderItems extends ChangeOrder {
  method: "ReturnOrderItems";
  items: readonly ItemUnits[];
  restock: boolean;
  requestId: number;
}

export interface SetOrderExpireTime extends ChangeOrder {
  method: "SetOrderExpireTime";
  /** Index of a time in the future; undefined for an order that does not expire. */
  time: number | undefined;
  requestId: number;
}

/** The expire time of an order passes, and a worker does a round. It may complete the expiry, or another one later. */
export interface PassExpireTime {
  method: "PassExpireTime";
  order: string;
  requestId: undefined;
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

/** A change of an order by a caller. */
export type OrderWrite =
  | CancelOrder
  | MarkOrderPaid
  | ShipOrder
  | DeliverOrder
  | CancelOrderItems
  | ReturnOrderItems
  | SetOrderExpireTime;

/** A change of the stock or the prices of products. */
export type StockWrite = AdjustStock | Recount | ImportProducts;

export type Write = CreateOrder | OrderWrite | PassExpireTime | StockWrite;

export type Read =
  | { method: "QuoteOrder"; lines: readonly Line[]; isShipped: boolean }
  | { method: "GetOrder"; order: string }
  | { method: "ListOrderEvents"; order: string }
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
  /** Id of the order or the shipment that was created. */
  createdId?: string;
  /** The encoded response, without what distinguishes a replay. */
  response?: string;
}

/** The ids that responses have contained. */
export interface KnownIds {
  /** Of orders, by `orderKey`. */
  orders: ReadonlyMap<string, string>;
  /** Of shipments, by the request_id of their ShipOrder. */
  shipments: ReadonlyMap<number, string>;
}

/** Returns the key that identifies an order permanently: its owner and request_id. */
export function orderKey({ owner, requestId }: { owner: number; requestId: number }): string {
  return `${owner}/${requestId}`;
}

/** Returns the key of a request, whose repeats have the first response; undefined for one without. */
export function requestKey(operation: Write): string | undefined {
  const { method, requestId } = operation;
  if (requestId === undefined) return undefined;
  if (method === "CreateOrder") {
    return operation.validateOnly ? undefined : `CreateOrder ${orderKey(operation)}`;
  }
  return `${method === "Recount" ? "AdjustStock" : method} ${requestId}`;
}

const READS: ReadonlySet<string> = new Set<Read["method"]>([
  "QuoteOrder",
  "GetOrder",
  "ListOrderEvents",
  "GetProduct",
  "ListOrders",
]);

/** Returns whether an operation is a write. */
export function isWrite(operation: Operation): operation is Write {
  return !READS.has(operation.method);
}
