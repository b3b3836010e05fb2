import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";

/** A recorded purchase. Rows are never changed. */
export const PurchaseEntity = defineEntity({
  name: "Purchase",
  tableName: "purchase",
  properties: {
    eventId: p.uuid().primary(),
    userId: p.text(),
    promotionId: p.uuid(),
    productId: p.uuid(),
    orderId: p.uuid().nullable(),
    kind: p.text(),
    currency: p.character().length(3),
    amountMinor: p.bigint("bigint"),
    /** Whether the number of purchases changes; false for the reversal of some units of an item. */
    counts: p.boolean(),
    clientAddress: p.text(),
    purchasedAt: timestamp(),
    createdAt: timestamp(),
  },
  indexes: [
    { name: "purchase_time", properties: ["purchasedAt", "eventId"] },
    { name: "purchase_promotion_time", properties: ["promotionId", "purchasedAt", "eventId"] },
    { name: "purchase_product_time", properties: ["productId", "purchasedAt", "eventId"] },
    { name: "purchase_user_time", properties: ["userId", "purchasedAt", "eventId"] },
  ],
  uniques: [
    // An item of an order is one sale at most, and its last unit is reversed once.
    {
      name: "purchase_order_unique",
      expression:
        "create unique index purchase_order_unique on purchase (order_id, product_id, kind) where order_id is not null and counts",
    },
  ],
  checks: [
    { name: "purchase_kind_known", expression: "kind in ('SALE', 'REVERSAL')" },
    { name: "purchase_amount_not_negative", expression: "amount_minor >= 0" },
    { name: "purchase_reversal_of_order", expression: "kind = 'SALE' or order_id is not null" },
    { name: "purchase_partial_reversal", expression: "counts or kind = 'REVERSAL'" },
  ],
});
