import { defineEntity, type Opt, p } from "@mikro-orm/postgresql";
import { timestamp } from "../infra/postgres/columns.ts";

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
    {
      name: "category_search",
      expression: `create index category_search on category using gin (to_tsvector('simple', ${words("name")}))`,
    },
  ],
  checks: [{ name: "category_parent_other", expression: "parent_id <> id" }],
});

/** Who makes products. The one without a name stands for none, so that every product has one. */
export const BrandEntity = defineEntity({
  name: "Brand",
  tableName: "brand",
  properties: { name: p.text().primary(), createdAt: timestamp() },
});

/** The popularities above which products have a text index of their own: sold at all, ten and a hundred times. */
export const SOLD_ABOVE = [0, 23, 46] as const;

/** One in 128 products by chance, with a text index of their own: in it is seen how many have some words. */
export const SAMPLED = "(uuid_hash(id) & 127) = 0";

/**
 * A product with its stock. `version` counts what staff change; stock and sales leave it alone, and no index
 * holds them, so that selling rewrites no index (a HOT update). What indexes hold instead are columns that
 * seldom change with them: whether any unit is left, how many of the last hundred, and how popular it is, in
 * steps of a tenth.
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
    /** Of all ratings, so that the average is exact. */
    ratingSum: p.bigint("bigint").default(0),
    purchaseCount: p.bigint("bigint").default(0),
    imageUri: p.text(),
    attributes: p.json<Record<string, string>>(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
    deletedAt: timestamp().nullable(),
    active: p.boolean().$type<Opt<boolean>>().generated("(deleted_at is null) stored"),
    inStock: p.boolean().$type<Opt<boolean>>().generated("(stock_quantity > 0) stored"),
    stockLow: p
      .smallint()
      .$type<Opt<number>>()
      .nullable()
      .generated(
        "(case when deleted_at is null and stock_quantity between 1 and 100 then stock_quantity end) stored",
      ),
    popularity: p
      .smallint()
      .$type<Opt<number>>()
      .generated("(floor(10 * ln(1 + purchase_count::double precision))) stored"),
    search: p
      .string()
      .$type<Opt<string>>()
      .columnType("tsvector")
      .generated(
        `(setweight(to_tsvector('simple', ${words("name")}), 'A') || setweight(to_tsvector('simple', ${words("sku")}), 'A') || setweight(to_tsvector('simple', ${words("brand")}), 'B') || ('''#' || category_id::text || ''':1C')::tsvector || setweight(to_tsvector('simple', ${words("description")}), 'D')) stored`,
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
    // With `active` and `currency` in them, medians are found in the indexes of prices alone.
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
    {
      name: "product_stock_low",
      expression: "create index product_stock_low on product (stock_low) where stock_low is not null",
    },
    // With its default limit of 4 MB, whoever fills the list of pending entries waits seconds for it to be emptied.
    {
      name: "product_search",
      expression:
        "create index product_search on product using gin (search) with (gin_pending_list_limit = 256)",
    },
    // The best-selling products by themselves: most searches find enough among these, in a hundredth of the time.
    {
      name: "product_search_sample",
      expression: `create index product_search_sample on product using gin (search) with (gin_pending_list_limit = 256) where ${SAMPLED}`,
    },
    ...SOLD_ABOVE.map((above) => ({
      name: `product_search_sold_${above}`,
      expression: `create index product_search_sold_${above} on product using gin (search) with (gin_pending_list_limit = 256) where popularity > ${above}`,
    })),
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
 * its words: "SKU-000123" is found by "sku 000123", and no sign or host name is made of it. Nor can a word be
 * what stands for a category, which begins with a sign. (`translate` would take seven times as long.)
 */
export function words(column: string): string {
  return `regexp_replace(${column}, '[][!"#$%&''()*+,./:;<=>?@\\\\^_\`{|}~-]', ' ', 'g')`;
}

/**
 * How many products that are sold there are of each kind, kept by triggers (see the migration): `product_count`
 * holds what was added up, `product_count_delta` what has come since, so that writers never wait for each
 * other's counts. Together they are exact at any moment.
 */
const tally = {
  categoryId: p.uuid(),
  brand: p.text(),
  currency: p.character().length(3),
  /** The lowest price of its band, in minor units. */
  band: p.bigint("bigint"),
  productCount: p.bigint("bigint"),
  inStockCount: p.bigint("bigint"),
  priceSum: p.decimal("string").columnType("numeric"),
};

export const ProductCountEntity = defineEntity({
  name: "ProductCount",
  tableName: "product_count",
  properties: {
    ...tally,
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
  properties: { id: p.bigint("bigint").primary().autoincrement(), ...tally },
});

/**
 * The words that products and categories are made of, those with a digit up to the first one: what the
 * beginning of a word may become, and what a misspelled one may have meant.
 */
export const SearchWordEntity = defineEntity({
  name: "SearchWord",
  tableName: "search_word",
  properties: { word: p.text().primary() },
  indexes: [
    {
      name: "search_word_trigram",
      expression: "create index search_word_trigram on search_word using gin (word gin_trgm_ops)",
    },
    {
      name: "search_word_prefix",
      expression: "create index search_word_prefix on search_word (word text_pattern_ops)",
    },
  ],
});

/** An import of products, how far it has come, and what it has done. */
export const ProductImportEntity = defineEntity({
  name: "ProductImport",
  tableName: "product_import",
  properties: {
    requestId: p.uuid().primary(),
    mode: p.text(),
    rowCount: p.bigint("bigint").default(0),
    createdCount: p.bigint("bigint").default(0),
    updatedCount: p.bigint("bigint").default(0),
    unchangedCount: p.bigint("bigint").default(0),
    deletedCount: p.bigint("bigint").default(0),
    failedCount: p.bigint("bigint").default(0),
    /** Which rows, for batches are written side by side; each from the rows before it to those up to its end. */
    taken: p.string().columnType("int8multirange").default("{}"),
    errors: p.json<{ rowNumber: number; sku: string; field: string; description: string }[]>(),
    createdAt: timestamp(),
    finishedAt: timestamp().nullable(),
  },
  indexes: [{ name: "product_import_created", properties: ["createdAt"] }],
  checks: [{ name: "product_import_mode_known", expression: "mode in ('INCREMENTAL', 'FULL')" }],
});

/** The skus that an import has had so far, good rows and faulty ones, until it is finished. */
export const ProductImportSkuEntity = defineEntity({
  name: "ProductImportSku",
  tableName: "product_import_sku",
  properties: { requestId: p.uuid().primary(), sku: p.text().primary() },
});
