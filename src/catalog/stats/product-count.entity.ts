import { defineEntity, p } from "@mikro-orm/postgresql";

/**
 * Counts of products that are not deleted, by category, brand, currency and price band. Triggers write each change
 * as a row of `product_count_delta`, so that writers never wait for each other's counts; the rollup adds deltas to
 * `product_count`. The sum of both (the view `product_tally`) is exact at any moment.
 */
const countColumns = {
  categoryId: p.uuid(),
  brand: p.text(),
  currency: p.character().length(3),
  /** Lower bound of the price band, in minor units. */
  band: p.bigint("bigint"),
  productCount: p.bigint("bigint"),
  inStockCount: p.bigint("bigint"),
  priceSum: p.decimal("string").columnType("numeric"),
};

export const ProductCountEntity = defineEntity({
  name: "ProductCount",
  tableName: "product_count",
  properties: {
    ...countColumns,
    categoryId: p.uuid().primary(),
    brand: p.text().primary(),
    currency: p.character().length(3).primary(),
    band: p.bigint("bigint").primary(),
  },
  indexes: [{ name: "product_count_brand", properties: ["brand"] }],
});

export const ProductCountDeltaEntity = defineEntity({
  name: "ProductCountDelta",
  tableName: "product_count_delta",
  properties: { id: p.bigint("bigint").primary().autoincrement(), ...countColumns },
});
