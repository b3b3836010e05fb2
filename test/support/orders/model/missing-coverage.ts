import type { ModelCoverage } from "./model-coverage.ts";

const CHANGE = ["OK", "ORDER_STATE", "STALE_ETAG", "REQUEST_ID_REUSED"];
const UNITS = [...CHANGE, "QUANTITY_TOO_LARGE"];

/** Outcomes of the model by method, apart from those of reads of unknown orders. */
const OUTCOMES: Readonly<Record<string, readonly string[]>> = {
  QuoteOrder: ["OK"],
  CreateOrder: [
    "OK",
    "replayed",
    "REQUEST_ID_REUSED",
    "CUSTOMER_NOT_FOUND",
    "OUT_OF_STOCK",
    "QUOTE_CHANGED",
    "CUSTOMER_REQUIRED",
    "PURCHASE_LIMIT_REACHED",
  ],
  MarkOrderPaid: [...CHANGE, "AMOUNT_NOT_DUE"],
  ShipOrder: UNITS,
  DeliverOrder: [...CHANGE, "FIELD_REQUIRED"],
  CancelOrderItems: UNITS,
  ReturnOrderItems: UNITS,
  CancelOrder: CHANGE,
  SetOrderExpireTime: CHANGE,
  PassExpireTime: ["OK"],
  AdjustStock: ["OK", "OUT_OF_STOCK", "STOCK_CHANGED", "REQUEST_ID_REUSED"],
  Recount: ["OK", "OUT_OF_STOCK", "REQUEST_ID_REUSED"],
  ImportProducts: ["OK"],
  GetOrder: ["OK"],
  ListOrderEvents: ["OK"],
  GetProduct: ["OK"],
  ListOrders: ["OK"],
};

const EVENTS = [
  "PLACED",
  "PAID",
  "SHIPPED",
  "DELIVERED",
  "ITEMS_CANCELLED",
  "ITEMS_RETURNED",
  "CANCELLED",
  "EXPIRE_TIME_SET",
  "EXPIRY_STARTED",
  "EXPIRED",
];

/**
 * Returns what the runs of a check have not reached: outcomes of methods, events of orders, and faults.
 * @param faults those that must have occurred, such as "kill worker before"
 */
export function findMissing(coverage: ModelCoverage, faults: readonly string[]): string[] {
  const outcomes = Object.entries(OUTCOMES).flatMap(([method, names]) =>
    names.map((name) => `${method} ${name}`),
  );
  return [
    ...outcomes.filter((name) => coverage.outcomes[name] === undefined),
    ...EVENTS.filter((name) => coverage.events[name] === undefined),
    ...faults.filter((name) => coverage.faults[name] === undefined),
  ];
}
