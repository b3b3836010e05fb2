import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** The ledger of stock: one row for each change of a product's stock. Invariant I1 sums its rows. */
export const StockMovementEntity = defineEntity({
  name: "StockMovement",
  tableName: "stock_movement",
  properties: {
    id: p.bigint("bigint").primary().autoincrement(),
    productId: p.uuid(),
    delta: p.bigint("bigint"),
    reason: p.text(),
    orderId: p.uuid().nullable(),
    effectiveAt: timestamp(),
    createdAt: timestamp(),
  },
  indexes: [{ name: "stock_movement_product", properties: ["productId", "reason", "effectiveAt"] }],
  uniques: [
    // An order removes units once, and its cancellation restocks them once.
    {
      name: "stock_movement_order_unique",
      expression:
        "create unique index stock_movement_order_unique on stock_movement (order_id, product_id, reason) where order_id is not null",
    },
  ],
  checks: [
    { name: "stock_movement_delta_not_zero", expression: "delta <> 0" },
    {
      name: "stock_movement_reason_known",
      expression:
        "reason in ('INITIAL', 'ORDER', 'CANCEL', 'RECOUNT', 'RECEIVED', 'DAMAGED', 'RETURNED', 'CORRECTION')",
    },
    {
      name: "stock_movement_order_known",
      expression: "(reason in ('ORDER', 'CANCEL')) = (order_id is not null)",
    },
  ],
});
