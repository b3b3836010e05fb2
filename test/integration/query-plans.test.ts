import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entities } from "../../src/entities.ts";
import { type Database, openPostgres } from "../../src/infra/postgres/postgres.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { silentLog } from "../support/log.ts";
import { fillShop, idOf } from "../support/query-plans/fill.ts";
import {
  branch,
  brand,
  buildShop,
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
  type Shop,
} from "../support/query-plans/lists.ts";
import { noting, type Plan, planOf, type Sent } from "../support/query-plans/plan.ts";

let database: TestDatabase;
let db: Database;
let shop: Shop;
const sent: Sent[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  await fillShop(database, 100_000);
  db = await openPostgres({
    ...{ url: database.url, entities, poolMax: 2, poolWaitMs: 5_000, statementTimeoutMs: 10_000 },
    log: silentLog,
  });
  shop = buildShop(noting(db, sent));
  // Once a minute it is looked at how large the shop is.
  await products({ query: "thing" })(shop, "");
  sent.splice(0);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** What some work answers, and the plans of the statements that it sends. */
async function watchAll<T>(work: () => Promise<T>): Promise<{ answer: T; plans: Plan[] }> {
  const answer = await work();
  const plans: Plan[] = [];
  for (const statement of sent.splice(0)) plans.push(await planOf(database, statement));
  return { answer, plans };
}

/** The same of work that sends one statement, after small ones that look words and categories up. */
async function watch<T>(work: () => Promise<T>): Promise<{ answer: T; plan: Plan }> {
  const { answer, plans } = await watchAll(work);
  const plan = plans.pop();
  if (plan === undefined || plans.some(({ rows }) => rows > 100)) throw new Error("more was done");
  return { answer, plan };
}

/** The row at a place of a list as a page token, and the ids of the 20 rows after it: by OFFSET, not by key. */
async function rowsAfter(table: string, where: string, order: string, place: number) {
  const columns = order.replaceAll(" desc", "");
  const rows = await database.query<{ cursor: string; id: string }>(`
    select json_build_array(${columns})::text as cursor, ${columns.split(", ").at(-1)} as id
    from ${table} where ${where} order by ${order} limit 21 offset ${place}`);
  const [first, ...next] = rows;
  if (first === undefined) throw new Error(`there are no ${place} rows of ${table} where ${where}`);
  return { token: first.cursor, ids: next.map((row) => row.id) };
}

function idsOf({ items }: { items: object[] }): unknown[] {
  return items.map((item) => ("eventId" in item ? item.eventId : "id" in item ? item.id : undefined));
}

test.each(pageCases)(
  "%s: the first page and one far behind come by its index",
  async (_, list, index, sql) => {
    const { token, ids } = await rowsAfter(...sql);
    const { plan: first } = await watch(() => list(shop, ""));
    const { plan: behind, answer } = await watch(() => list(shop, token));
    expect(idsOf(answer)).toEqual(ids);
    for (const plan of [first, behind]) {
      expect(plan.scanned).toEqual([]);
      expect(plan.indexes.map((name) => name.replace(/_unique$/, ""))).toContain(index);
      expect(plan.rows).toBeLessThanOrEqual(60);
    }
    // It costs what the first costs, but for the height of the index.
    expect(behind.blocks).toBeLessThanOrEqual(first.blocks * 1.2 + 10);
  },
);

test.each(mergedCases)("%s: a page of each part comes by its index", async (_, list, index, sql) => {
  const { token, ids } = await rowsAfter(...sql);
  const { plan: first } = await watch(() => list(shop, ""));
  const { plan: behind, answer } = await watch(() => list(shop, token));
  expect(idsOf(answer)).toEqual(ids);
  for (const plan of [first, behind]) {
    expect(plan.scanned).toEqual([]);
    expect(plan.indexes).toContain(index);
    expect(plan.rows).toBeLessThanOrEqual(8 * 40);
  }
  expect(behind.blocks).toBeLessThanOrEqual(first.blocks * 1.2 + 20);
});

// Two filters, or a filter and an order, that share no index: PostgreSQL picks one of the two.
test.each<[string, List, most?: number]>([
  ["products of a brand", products(brand), 3_000],
  ["newest products of a brand", products({ ...brand, orderBy: "create_time desc" }), 3_000],
  ["newest products of a branch", products({ ...branch, orderBy: "create_time desc" }), 3_000],
  ["products of a price range", products(range), 3_000],
  ["products of a narrow price range", products({ minPrice: eur(100n), maxPrice: eur(120n) }), 3_000],
  ["products by price, deleted ones too", products({ orderBy: "price", showDeleted: true }), 60],
])("%s: no table is read from end to end", async (_, list, most = Number.POSITIVE_INFINITY) => {
  const { plan } = await watch(() => list(shop, ""));
  expect(plan.scanned).toEqual([]);
  expect(plan.rows).toBeLessThanOrEqual(most);
});

describe("a text query", () => {
  test("for a common word is seen to match much in a sample, and not looked for in the text index of all", async () => {
    const { plans, answer } = await watchAll(() => products({ query: "large thing" })(shop, ""));
    const indexes = plans.flatMap((plan) => plan.indexes);
    expect(indexes).toContain("product_search_sample");
    expect(indexes).not.toContain("product_search");
    expect(answer.items).toHaveLength(20);
  });

  test.each(["relevance", "name", "name desc", "price", "create_time desc", "rating"])(
    "for a rare word comes by the text index, ordered by %j",
    async (orderBy) => {
      const { plans, answer } = await watchAll(() => products({ query: "thing 7919", orderBy })(shop, ""));
      // The categories are few.
      expect(plans.flatMap(({ scanned }) => scanned)).not.toContain("product");
      const last = plans.at(-1);
      expect(last?.scanned).toEqual([]);
      expect(last?.indexes).toContain("product_search");
      expect(last?.rows).toBeLessThanOrEqual(1_500);
      // The next of the order are looked at before, some thousands at most.
      expect(plans.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(7_000);
      expect(answer.items).toHaveLength(20);
    },
  );

  test.each([
    ["name", "name, id", 5],
    ["price desc", "price_minor desc, id desc", 10_000],
    // Some hundred rows before the end, where few are left.
    ["create_time", "created_at, id", 17_300],
    ["popularity desc", "popularity desc, id desc", 300],
  ])("for a common word finds the same as LIKE, ordered by %j", async (orderBy, order, place) => {
    const { token, ids } = await rowsAfter("product", "active and name like 'Large thing%'", order, place);
    const { plan, answer } = await watch(() => products({ query: "large thing", orderBy })(shop, token));
    expect(idsOf(answer)).toEqual(ids);
    expect(plan.rows).toBeLessThanOrEqual(30_000);
  });

  test("for a common word is filled by the most popular products", async () => {
    const { ids } = await rowsAfter(
      "(select 2000000000 as popularity, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid as id union all select popularity, id from product where active and name like 'Large thing%') as product",
      ...(["true", "popularity desc, id desc", 0] as const),
    );
    const { plan, answer } = await watch(() => products({ query: "large" })(shop, ""));
    expect(idsOf(answer)).toEqual(ids);
    expect(plan.indexes).toContain("product_popularity");
    expect(plan.rows).toBeLessThanOrEqual(2_500);
  });
});

const lately = { timeframeMs: 3_600_000, currencyCode: "" };
const whole = { showDeleted: false, readMask: [] };
const byKey = (column: "id" | "sku", value: string) => (shop: Shop) =>
  shop.catalog.products.get(call, { column, value }, whole);
const some = [9, 10, 11].map((n) => idOf("product", n));

test.each<[string, (shop: Shop) => Promise<unknown>, index: RegExp, most: number]>([
  ["a product by id", byKey("id", idOf("product", 9)), /^product_pkey$/, 1],
  ["a product by sku", byKey("sku", "SKU-9"), /^product_sku_unique$/, 1],
  ["products by id", ({ catalog }) => catalog.products.batchGet(call, some, []), /^product_pkey$/, 3],
  ["an order", ({ orders }) => orders.get(call, idOf("order", 9)), /^orders_pkey$/, 2],
  ["a customer", ({ customers }) => customers.get(call, idOf("customer", 9), false), /^customer_pkey$/, 1],
  [
    "the last hour of a promotion",
    ({ tracker }) => tracker.getStats(call, { ...lately, ...promotion, productId: "" }),
    /^purchase_(promotion_)?time$/,
    300,
  ],
  [
    "the last hour of a product",
    ({ tracker }) => tracker.getStats(call, { ...lately, ...product, promotionId: "" }),
    /^purchase_(product_)?time$/,
    300,
  ],
  [
    "the last hour",
    ({ tracker }) => tracker.getStats(call, { ...lately, promotionId: "", productId: "" }),
    /^purchase_time$/,
    300,
  ],
  // What triggers have counted: a row for each kind of product, not for each product.
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
])("%s: found by an index", async (_, read, index, most) => {
  const { plans } = await watchAll(() => read(shop));
  const small = ["category", "promotion", "purchase_total", "product_count_delta"];
  expect(plans.flatMap(({ scanned }) => scanned).filter((table) => !small.includes(table))).toEqual([]);
  expect(plans.flatMap(({ indexes }) => indexes)).toContainEqual(expect.stringMatching(index));
  expect(plans.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(most);
});

test("the check sees a table that is read from end to end", async () => {
  const text = "select count(*) from product where stock_quantity = 3";
  const plan = await planOf(database, { statement: { text }, values: [] });
  expect(plan.scanned).toEqual(["product"]);
  expect(plan.rows).toBeGreaterThan(90_000);
});

test("the indexes that the design asks for are there", async () => {
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
