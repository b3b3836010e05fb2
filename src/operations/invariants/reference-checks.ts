import type { Check } from "./check.ts";

/** The references between tables: a column with the id of a row of another table, and the resource of the row. */
const REFERENCES: readonly (readonly [
  table: string,
  resource: string,
  id: string,
  column: string,
  target: string,
])[] = [
  ["account", "accounts", "id", "customer_id", "customer"],
  ["category", "categories", "id", "parent_id", "category"],
  ["fulfillment", "fulfillments", "id", "order_id", "orders"],
  ["fulfillment_item", "fulfillments", "fulfillment_id", "fulfillment_id", "fulfillment"],
  ["inventory", "products", "product_id", "product_id", "product"],
  ["ledger_entry", "ledger-entries", "id", "payment_id", "payment"],
  ["order_event", "orders", "order_id", "order_id", "orders"],
  ["order_expiry", "orders", "order_id", "order_id", "orders"],
  ["order_item", "orders", "order_id", "order_id", "orders"],
  ["order_item", "orders", "order_id", "product_id", "product"],
  ["orders", "orders", "id", "customer_id", "customer"],
  ["orders", "orders", "id", "promotion_id", "promotion"],
  ["payment", "payments", "id", "order_id", "orders"],
  ["payment_request", "payment-requests", "id", "payment_id", "payment"],
  ["product", "products", "id", "category_id", "category"],
  ["product_sales", "products", "product_id", "product_id", "product"],
  ["promotion_hold", "orders", "order_id", "order_id", "orders"],
  ["promotion_hold", "orders", "order_id", "promotion_id", "promotion"],
  ["purchase", "purchases", "event_id", "order_id", "orders"],
  ["purchase", "purchases", "event_id", "product_id", "product"],
  ["purchase", "purchases", "event_id", "promotion_id", "promotion"],
  ["purchase_total", "promotions", "promotion_id", "product_id", "product"],
  ["purchase_total", "promotions", "promotion_id", "promotion_id", "promotion"],
  ["refund", "refunds", "id", "payment_id", "payment"],
  ["refund_line", "refunds", "refund_id", "refund_id", "refund"],
  ["review", "reviews", "id", "customer_id", "customer"],
  ["review", "reviews", "id", "product_id", "product"],
  ["session", "sessions", "id", "account_id", "account"],
  ["stock_movement", "stock-movements", "id", "order_id", "orders"],
  ["stock_movement", "stock-movements", "id", "product_id", "product"],
];

/** Returns the query for the rows whose reference has no target. */
const missingTargets = ([table, resource, id, column, target]: (typeof REFERENCES)[number]): string => `
  select '${resource}/' || source.${id} as resource, '${table}' as "table", '${column}' as "column", source.${column}::text as target
  from ${table} as source
  where source.${column} is not null and not exists (select from ${target} where ${target}.id = source.${column})`;

/** Checks of the references between rows. */
export const referenceChecks: readonly Check[] = [
  {
    name: "references",
    invariant: "I6",
    description: "Each row that a row refers to exists.",
    query: REFERENCES.map(missingTargets).join(" union all "),
  },
];
