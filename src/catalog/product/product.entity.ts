import { defineEntity, type Opt, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";
import { searchableText } from "../searchable-text.ts";

/**
 * Popularities above which products are in a partial text index: sold at least once, 10 times and 100 times. The
 * most popular matches of most searches are found there, in a hundredth of the time.
 */
export const POPULARITY_STEPS = [0, 23, 46] as const;

/** SQL condition of a random sample of one in 128 products. Its partial text index estimates how many match. */
export const IS_SAMPLED = "(uuid_hash(id) & 127) = 0";

/**
 * A product. `version` increases with changes by staff, not with availability, popularity and ratings. Stock and units
 * sold are in narrow tables of their own, because an order changes them: in this row each change would write a new
 * version of a kilobyte.
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
    ratingAverage: p.float().columnType("double precision").default(0),
    ratingCount: p.bigint("bigint").default(0),
    /** Sum of all ratings, which keeps the average exact. */
    ratingSum: p.bigint("bigint").default(0),
    imageUri: p.text(),
    attributes: p.json<Record<string, string>>(),
    taxClass: p.text().default(""),
    weightGrams: p.bigint("bigint").default(0),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
    deletedAt: timestamp().nullable(),
    active: p.boolean().$type<Opt<boolean>>().generated("(deleted_at is null) stored"),
    /** Whether units can be ordered. Written by the transaction in which that changes, while the stock is locked. */
    inStock: p.boolean().default(false),
    /** Units sold on a logarithmic scale, in steps of about a tenth. */
    popularity: p.smallint().default(0),
    search: p
      .string()
      .$type<Opt<string>>()
      .columnType("tsvector")
      .generated(
        `(setweight(to_tsvector('simple', ${searchableText("name")}), 'A') || setweight(to_tsvector('simple', ${searchableText("sku")}), 'A') || setweight(to_tsvector('simple', ${searchableText("brand")}), 'B') || ('''#' || category_id::text || ''':1C')::tsvector || setweight(to_tsvector('simple', ${searchableText("description")}), 'D')) stored`,
      )
      .lazy()
      .hidden(),
  },
  uniques: [{ name: "product_sku_unique", properties: ["sku"] }],
  indexes: [
    { name: "product_category_active_id", properties: ["categoryId", "active", "id"] },
    { name: "product_active_name", properties: ["active", "name", "id"] },
    { name: "product_category_name", properties: ["categoryId", "active", "name", "id"] },
    { name: "product_category_popularity", properties: ["categoryId", "popularity", "id"] },
    // The price indexes include `active` and `currency`, so that medians are read by index-only scans.
    {
      name: "product_brand_price",
      properties: ["brand", "priceMinor", "id"],
      include: ["active", "currency"],
    },
    {
      name: "product_category_price",
      properties: ["categoryId", "priceMinor", "id"],
      include: ["active", "currency"],
    },
    { name: "product_price", properties: ["priceMinor", "id"], include: ["active", "currency"] },
    { name: "product_created", properties: ["createdAt", "id"] },
    { name: "product_popularity", properties: ["popularity", "id"] },
    { name: "product_rating", properties: ["ratingAverage", "id"] },
    // With the default limit of 4 MB, the writer that fills the list of pending entries waits seconds for its merge.
    {
      name: "product_search",
      expression:
        "create index product_search on product using gin (search) with (gin_pending_list_limit = 256)",
    },
    {
      name: "product_search_sample",
      expression: `create index product_search_sample on product using gin (search) with (gin_pending_list_limit = 256) where ${IS_SAMPLED}`,
    },
    ...POPULARITY_STEPS.map((above) => ({
      name: `product_search_sold_${above}`,
      expression: `create index product_search_sold_${above} on product using gin (search) with (gin_pending_list_limit = 256) where popularity > ${above}`,
    })),
  ],
  checks: [
    { name: "product_price_not_negative", expression: "price_minor >= 0" },
    { name: "product_rating_in_range", expression: "rating_average between 0 and 5 and rating_count >= 0" },
    { name: "product_sku_not_empty", expression: "sku <> ''" },
    { name: "product_tax_class_valid", expression: "tax_class ~ '^[a-z0-9_-]{0,32}$'" },
    { name: "product_weight_in_range", expression: "weight_grams between 0 and 1000000000" },
  ],
});
