import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entities } from "../../src/entities.ts";
import { type Database, openPostgres } from "../../src/infra/postgres/postgres.ts";
import type { CompiledStatement } from "../../src/infra/postgres/statement.ts";
import { silentLog } from "../support/log.ts";
import { buildShop, type Shop } from "../support/query-plans/build-shop.ts";
import { fillShop, idOf } from "../support/query-plans/fill-shop.ts";
import {
  branch,
  brand,
  call,
  eur,
  firstPage,
  type List,
  mergedCases,
  pageCases,
  product,
  products,
  promotion,
  range,
} from "../support/query-plans/lists.ts";
import { explainStatement, type QueryPlan, recordStatements } from "../support/query-plans/query-plan.ts";
import { createTestDatabase, type TestDatabase } from "../support/stores/database.ts";

let database: TestDatabase;
let db: Database;
let shop: Shop;
const statements: CompiledStatement[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  await fillShop(database, 100_000);
  db = await openPostgres({
    url: database.url,
    entities,
    poolMax: 2,
    poolWaitMs: 5_000,
    statementTimeoutMs: 10_000,
    log: silentLog,
  });
  shop = buildShop(recordStatements(db, statements));
  // The first search reads the size of the shop, once a minute.
  await products({ query: "thing" })(shop, "");
  statements.splice(0);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** Runs some work and returns its result and the plans of its statements. */
async function explainAll<T>(work: () => Promise<T>): Promise<{ result: T; plans: QueryPlan[] }> {
  const result = await work();
  const plans: QueryPlan[] = [];
  for (const statement of statements.splice(0)) plans.push(await explainStatement(database, statement));
  return { result, plans };
}

/** The same for work with one large statement, after small ones that look up words and categories. */
async function explain<T>(work: () => Promise<T>): Promise<{ result: T; plan: QueryPlan }> {
  const { result, plans } = await explainAll(work);
  const plan = plans.pop();
  if (plan === undefined || plans.some(({ rows }) => rows > 100))
    throw new Error("there is more than one large statement");
  return { result, plan };
}

/** Returns the row at an offset of a list as a page token, and the ids of the 20 rows after it. */
async function rowsAfter(table: string, where: string, order: string, offset: number) {
  const columns = order.replaceAll(" desc", "");
  const rows = await database.query<{ cursor: string; id: string }>(`
    select json_build_array(${columns})::text as cursor, ${columns.split(", ").at(-1)} as id
    from ${table} where ${where} order by ${order} limit 21 offset ${offset}`);
  const [first, ...next] = rows;
  if (first === undefined) throw new Error(`there are no ${offset} rows of ${table} where ${where}`);
  return { token: first.cursor, ids: next.map((row) => row.id) };
}

function idsOf({ items }: { items: object[] }): unknown[] {
  return items.map((item) => ("eventId" in item ? item.eventId : "id" in item ? item.id : undefined));
}

test.each(pageCases)(
  "the index serves the first page and a distant one of %s",
  async (_, list, index, sql) => {
    const { token, ids } = await rowsAfter(...sql);
    const { plan: first } = await explain(() => list(shop, ""));
    const { plan: distant, result } = await explain(() => list(shop, token));
    expect(idsOf(result)).toEqual(ids);
    for (const plan of [first, distant]) {
      expect(plan.scanned).toEqual([]);
      expect(plan.indexes.map((name) => name.replace(/_unique$/, ""))).toContain(index);
      // A page of 20 and one more; of products also their stock and units sold, and rows that are merged.
      expect(plan.rows).toBeLessThanOrEqual(90);
    }
    // A distant page costs as much as the first one, but for the depth of the index.
    expect(distant.blocks).toBeLessThanOrEqual(first.blocks * 1.2 + 10);
  },
);

test.each(mergedCases)("the index serves a page of each part of %s", async (_, list, index, sql) => {
  const { token, ids } = await rowsAfter(...sql);
  const { plan: first } = await explain(() => list(shop, ""));
  const { plan: distant, result } = await explain(() => list(shop, token));
  expect(idsOf(result)).toEqual(ids);
  for (const plan of [first, distant]) {
    expect(plan.scanned).toEqual([]);
    expect(plan.indexes).toContain(index);
    expect(plan.rows).toBeLessThanOrEqual(8 * 40);
  }
  expect(distant.blocks).toBeLessThanOrEqual(first.blocks * 1.2 + 20);
});

// Two filters, or a filter and an order, without a common index: PostgreSQL chooses one of the two.
test.each<[string, List, most?: number]>([
  ["products of a brand", products(brand), 3_000],
  ["newest products of a brand", products({ ...brand, orderBy: "create_time desc" }), 3_000],
  ["newest products of a branch", products({ ...branch, orderBy: "create_time desc" }), 3_000],
  ["products of a price range", products(range), 3_000],
  ["products of a narrow price range", products({ minPrice: eur(100n), maxPrice: eur(120n) }), 3_000],
  ["products by price, deleted ones too", products({ orderBy: "price", showDeleted: true }), 60],
])("no table is scanned for %s", async (_, list, most = Number.POSITIVE_INFINITY) => {
  const { plan } = await explain(() => list(shop, ""));
  expect(plan.scanned).toEqual([]);
  expect(plan.rows).toBeLessThanOrEqual(most);
});

describe("a text query", () => {
  test("for a common word is counted in a sample and does not use the text index of all products", async () => {
    const { plans, result } = await explainAll(() => products({ query: "large thing" })(shop, ""));
    const indexes = plans.flatMap((plan) => plan.indexes);
    expect(indexes).toContain("product_search_sample");
    expect(indexes).not.toContain("product_search");
    expect(result.items).toHaveLength(20);
  });

  test.each(["relevance", "name", "name desc", "price", "create_time desc", "rating"])(
    "for a rare word uses the text index when sorted by %j",
    async (orderBy) => {
      const { plans, result } = await explainAll(() => products({ query: "thing 7919", orderBy })(shop, ""));
      // The categories are few.
      expect(plans.flatMap(({ scanned }) => scanned)).not.toContain("product");
      const last = plans.at(-1);
      expect(last?.scanned).toEqual([]);
      expect(last?.indexes).toContain("product_search");
      expect(last?.rows).toBeLessThanOrEqual(1_500);
      // Up to some thousand rows of the order are tried first.
      expect(plans.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(7_000);
      expect(result.items).toHaveLength(20);
    },
  );

  test.each([
    ["name", "name, id", 5],
    ["price desc", "price_minor desc, id desc", 10_000],
    // Some hundred rows before the end, where few are left.
    ["create_time", "created_at, id", 17_300],
    ["popularity desc", "popularity desc, id desc", 300],
  ])("for a common word finds the same as LIKE when sorted by %j", async (orderBy, order, offset) => {
    const { token, ids } = await rowsAfter("product", "active and name like 'Large thing%'", order, offset);
    const { plan, result } = await explain(() => products({ query: "large thing", orderBy })(shop, token));
    expect(idsOf(result)).toEqual(ids);
    expect(plan.rows).toBeLessThanOrEqual(30_000);
  });

  test("for a common word returns the most popular products", async () => {
    const { ids } = await rowsAfter(
      "(select 2000000000 as popularity, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid as id union all select popularity, id from product where active and name like 'Large thing%') as product",
      "true",
      "popularity desc, id desc",
      0,
    );
    const { plan, result } = await explain(() => products({ query: "large" })(shop, ""));
    expect(idsOf(result)).toEqual(ids);
    expect(plan.indexes).toContain("product_popularity");
    expect(plan.rows).toBeLessThanOrEqual(2_500);
  });
});

const recent = { timeframeMs: 3_600_000, currencyCode: "" };
const defaults = { showDeleted: false, readMask: [] };
const byKey = (column: "id" | "sku", value: string) => (shop: Shop) =>
  shop.catalog.products.get(call, { column, value }, defaults);
const some = [9, 10, 11].map((n) => idOf("product", n));

test.each<[string, (shop: Shop) => Promise<unknown>, index: RegExp, most: number]>([
  // A product, its stock and its units sold.
  ["a product by id", byKey("id", idOf("product", 9)), /^product_pkey$/, 3],
  ["a product by sku", byKey("sku", "SKU-9"), /^product_sku_unique$/, 3],
  ["products by id", ({ catalog }) => catalog.products.batchGet(call, some, []), /^product_pkey$/, 9],
  ["an order", ({ orders }) => orders.get(call, idOf("order", 9)), /^orders_pkey$/, 2],
  ["a customer", ({ customers }) => customers.get(call, idOf("customer", 9), false), /^customer_pkey$/, 1],
  [
    "the last hour of a promotion",
    ({ tracker }) => tracker.getStats(call, { ...recent, ...promotion, productId: "" }),
    /^purchase_(promotion_)?time$/,
    300,
  ],
  [
    "the last hour of a product",
    ({ tracker }) => tracker.getStats(call, { ...recent, ...product, promotionId: "" }),
    /^purchase_(product_)?time$/,
    300,
  ],
  [
    "the last hour",
    ({ tracker }) => tracker.getStats(call, { ...recent, promotionId: "", productId: "" }),
    /^purchase_time$/,
    300,
  ],
  // Triggers maintain the counts: one row for each kind of product, not for each product.
  [
    "categories with their counts",
    ({ catalog }) => catalog.categories.list(call, { ...firstPage, parentId: "" }),
    /^product_count_/,
    10_000,
  ],
  [
    "brands with their counts",
    ({ catalog }) => catalog.listBrands(call, firstPage),
    /^product_count_/,
    10_000,
  ],
])("an index serves the read of %s", async (_, read, index, most) => {
  const { plans } = await explainAll(() => read(shop));
  const small = ["category", "promotion", "purchase_total", "product_count_delta"];
  expect(plans.flatMap(({ scanned }) => scanned).filter((table) => !small.includes(table))).toEqual([]);
  expect(plans.flatMap(({ indexes }) => indexes)).toContainEqual(expect.stringMatching(index));
  expect(plans.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(most);
});

test("the check detects a sequential scan", async () => {
  const text = "select count(*) from product where rating_count = 3";
  const plan = await explainStatement(database, { text, values: [], name: undefined });
  expect(plan.scanned).toEqual(["product"]);
  expect(plan.rows).toBeGreaterThan(90_000);
});

test("all indexes of the design exist", async () => {
  const rows = await database.query<{ name: string; definition: string }>(
    "select indexname as name, indexdef as definition from pg_indexes where schemaname = 'public'",
  );
  const definitions = rows.map(({ name, definition }) => [name, definition.replace(/^.* USING /, "")]);
  expect(Object.fromEntries(definitions)).toMatchObject({
    product_category_active_id: "btree (category_id, active, id)",
    product_active_name: "btree (active, name, id)",
    product_category_name: "btree (category_id, active, name, id)",
    product_category_popularity: "btree (category_id, popularity, id)",
    product_popularity: "btree (popularity, id)",
    product_rating: "btree (rating_average, id)",
    product_brand_price: "btree (brand, price_minor, id) INCLUDE (active, currency)",
    product_category_price: "btree (category_id, price_minor, id) INCLUDE (active, currency)",
    product_price: "btree (price_minor, id) INCLUDE (active, currency)",
    product_created: "btree (created_at, id)",
    product_sku_unique: "btree (sku)",
    product_search: "gin (search) WITH (gin_pending_list_limit='256')",
    product_search_sample:
      "gin (search) WITH (gin_pending_list_limit='256') WHERE ((uuid_hash(id) & 127) = 0)",
    product_search_sold_0: "gin (search) WITH (gin_pending_list_limit='256') WHERE (popularity > 0)",
    product_search_sold_23: "gin (search) WITH (gin_pending_list_limit='256') WHERE (popularity > 23)",
    product_search_sold_46: "gin (search) WITH (gin_pending_list_limit='256') WHERE (popularity > 46)",
    search_word_trigram: "gin (word gin_trgm_ops)",
    search_word_prefix: "btree (word text_pattern_ops)",
    category_search: expect.stringMatching(/^gin \(to_tsvector/),
    orders_customer_created: "btree (customer_id, created_at, id)",
  });
});
