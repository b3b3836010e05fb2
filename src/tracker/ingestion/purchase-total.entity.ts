import { defineEntity, p } from "@mikro-orm/postgresql";

/**
 * Running totals of a product in a promotion. A counter that every purchase increments is a hot row, so each is divided
 * among several shards, which add up to it.
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
