import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

/** A time in which purchases are counted. Its state follows from its times and the clock. */
export const PromotionEntity = defineEntity({
  name: "Promotion",
  tableName: "promotion",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    startAt: timestamp(),
    endAt: timestamp().nullable(),
    purchaseLimit: p.bigint("bigint"),
    purchaseLimitPerUser: p.bigint("bigint"),
    version: p.integer().version(),
    createdAt: timestamp(),
  },
  checks: [
    { name: "promotion_end_after_start", expression: "end_at >= start_at" },
    {
      name: "promotion_limits_not_negative",
      expression: "purchase_limit >= 0 and purchase_limit_per_user >= 0",
    },
  ],
});

/** A purchase: a fact, written once. */
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

/**
 * Running totals of a promotion's product. A counter that everyone increments is a hot row, so each is kept
 * in a few shards that add up.
 */
export const PurchaseTotalEntity = defineEntity({
  name: "PurchaseTotal",
  tableName: "purchase_total",
  properties: {
    promotionId: p.uuid().primary(),
    productId: p.uuid().primary(),
    currency: p.character().length(3).primary(),
    shard: p.smallint().primary(),
    saleCount: p.bigint("bigint"),
    saleMinor: p.bigint("bigint"),
    reversalCount: p.bigint("bigint"),
    reversalMinor: p.bigint("bigint"),
  },
  indexes: [{ name: "purchase_total_product", properties: ["productId"] }],
  checks: [
    {
      name: "purchase_total_not_negative",
      expression: "sale_count >= 0 and sale_minor >= 0 and reversal_count >= 0 and reversal_minor >= 0",
    },
  ],
});
