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
    clientAddress: p.text(),
    purchasedAt: timestamp(),
    createdAt: timestamp(),
  },
  indexes: [
    { name: "purchase_time", properties: ["purchasedAt", "eventId"] },
    { name: "purchase_promotion_time", properties: ["promotionId", "purchasedAt", "eventId"] },
    { name: "purchase_product_time", properties: ["productId", "purchasedAt", "eventId"] },
    { name: "purchase_user_time", properties: ["userId", "purchasedAt", "eventId"] },
    {
      name: "purchase_order",
      expression: "create index purchase_order on purchase (order_id) where order_id is not null",
    },
  ],
  checks: [
    { name: "purchase_kind_known", expression: "kind in ('SALE', 'REVERSAL')" },
    { name: "purchase_amount_not_negative", expression: "amount_minor >= 0" },
    { name: "purchase_reversal_of_order", expression: "kind = 'SALE' or order_id is not null" },
  ],
});
