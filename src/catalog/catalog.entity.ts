import { defineEntity, type Opt, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/columns.ts";

/** A place in the tree of categories. */
export const CategoryEntity = defineEntity({
  name: "Category",
  tableName: "category",
  properties: {
    id: p.uuid().primary(),
    slug: p.text(),
    name: p.text(),
    parentId: p.uuid().nullable(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "category_slug_unique", properties: ["slug"] }],
  indexes: [
    { name: "category_name", properties: ["name", "id"] },
    { name: "category_parent", properties: ["parentId", "name", "id"] },
  ],
  checks: [{ name: "category_parent_other", expression: "parent_id <> id" }],
});

/**
 * A product with its stock. `version` counts what staff change; stock and sales leave it alone, and no index
 * holds them, so that selling rewrites no index (a HOT update).
 */
export const ProductEntity = defineEntity({
  name: "Product",
  tableName: "product",
  properties: {
    id: p.uuid().primary(),
    sku: p.text(),
    name: p.text(),
    description: p.text(),
    categoryId: p.uuid(),
    brand: p.text(),
    currency: p.character().length(3),
    priceMinor: p.bigint("bigint"),
    stockQuantity: p.bigint("bigint"),
    ratingAverage: p.float().columnType("double precision").default(0),
    ratingCount: p.bigint("bigint").default(0),
    purchaseCount: p.bigint("bigint").default(0),
    imageUri: p.text(),
    attributes: p.json<Record<string, string>>(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
    deletedAt: timestamp().nullable(),
    active: p.boolean().$type<Opt<boolean>>().generated("(deleted_at is null) stored"),
    search: p
      .string()
      .$type<Opt<string>>()
      .columnType("tsvector")
      .generated(
        `(setweight(to_tsvector('simple', ${words("name")}), 'A') || setweight(to_tsvector('simple', ${words("sku")}), 'A') || setweight(to_tsvector('simple', ${words("brand")}), 'B') || setweight(to_tsvector('simple', ${words("description")}), 'D')) stored`,
      )
      .lazy()
      .hidden(),
  },
  uniques: [{ name: "product_sku_unique", properties: ["sku"] }],
  indexes: [
    { name: "product_category_active_id", properties: ["categoryId", "active", "id"] },
    { name: "product_active_name", properties: ["active", "name", "id"] },
    // With `active` in it, the products of a brand are counted from the index alone.
    { name: "product_brand_price", properties: ["brand", "priceMinor", "id"], include: ["active"] },
    { name: "product_category_price", properties: ["categoryId", "priceMinor", "id"] },
    { name: "product_price", properties: ["priceMinor", "id"] },
    { name: "product_created", properties: ["createdAt", "id"] },
    { name: "product_search", expression: "create index product_search on product using gin (search)" },
    {
      name: "product_name_trigram",
      expression: "create index product_name_trigram on product using gin (name gin_trgm_ops)",
    },
  ],
  checks: [
    { name: "product_stock_not_negative", expression: "stock_quantity >= 0" },
    { name: "product_price_not_negative", expression: "price_minor >= 0" },
    { name: "product_purchases_not_negative", expression: "purchase_count >= 0" },
    { name: "product_rating_in_range", expression: "rating_average between 0 and 5 and rating_count >= 0" },
    { name: "product_sku_not_empty", expression: "sku <> ''" },
  ],
});

/**
 * ASCII punctuation becomes spaces before PostgreSQL's parser sees the text, and search does the same with
 * its words: "SKU-000123" is found by "sku 000123", and no sign or host name is made of it.
 */
function words(column: string): string {
  return `regexp_replace(${column}, '[!-/:-@[-_{-~]+', ' ', 'g')`;
}

/** Each change of a stock, by an order or by hand: the ledger that invariant I1 adds up. */
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
    // One row for an order's product and reason: an order takes once, and a cancel restocks once.
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
