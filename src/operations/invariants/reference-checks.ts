import type { Check } from "./check.ts";

/** The references between tables: a column with the id of a row of another table, and whether it may be null. */
const REFERENCES: readonly (readonly [table: string, id: string, column: string, target: string])[] = [
  ["account", "id", "customer_id", "customer"],
  ["category", "id", "parent_id", "category"],
  ["inventory", "product_id", "product_id", "product"],
  ["order_item", "order_id", "order_id", "orders"],
  ["order_item", "order_id", "product_id", "product"],
  ["orders", "id", "customer_id", "customer"],
  ["orders", "id", "promotion_id", "promotion"],
  ["product", "id", "category_id", "category"],
  ["product_sales", "product_id", "product_id", "product"],
  ["purchase", "event_id", "order_id", "orders"],
  ["purchase", "event_id", "product_id", "product"],
  ["purchase", "event_id", "promotion_id", "promotion"],
  ["purchase_total", "promotion_id", "product_id", "product"],
  ["purchase_total", "promotion_id", "promotion_id", "promotion"],
  ["review", "id", "customer_id", "customer"],
  ["review", "id", "product_id", "product"],
  ["session", "id", "account_id", "account"],
  ["stock_movement", "id", "order_id", "orders"],
  ["stock_movement", "id", "product_id", "product"],
];

/** Returns the query for the rows whose reference has no target. */
const missingTargets = ([table, id, column, target]: (typeof REFERENCES)[number]): string => `
  select '${table}/' || source.${id} as resource, '${column}' as "column", source.${column}::text as target
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
