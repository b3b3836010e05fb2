import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { refreshWordRanges } from "../../../../src/catalog/search/word-range-refresh.ts";
import { entities } from "../../../../src/entities.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import type { CompiledStatement } from "../../../../src/infra/postgres/statement.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  insertProducts,
  type ListRequest,
  listAllProducts,
  type ProductInsert,
} from "../../../support/catalog/product-rows.ts";
import { silentLog } from "../../../support/log.ts";
import { buildShop } from "../../../support/query-plans/build-shop.ts";
import { products } from "../../../support/query-plans/lists.ts";
import { explainStatement, recordStatements } from "../../../support/query-plans/query-plan.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

/** Products with each word: more than the fewest with which a word has a range. */
const FREQUENT = 8_200;

let shop: TestShop;
let db: Database;
let categoryId: string;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off", WORKERS: "0" });
  db = await openPostgres({
    url: shop.database.url,
    entities,
    poolMax: 4,
    poolWaitMs: 60_000,
    statementTimeoutMs: 60_000,
    log: silentLog,
  });
  categoryId = await makeCategory(shop);
  const many = (name: string, price: number) =>
    Array.from({ length: FREQUENT }, (_, at) => ({ name: `${name} ${at}`, price: price + (at % 1_000) }));
  await insert([...many("a shawm", 1_000), ...many("b lute", 50_000), ...many("z rebec", 90_000)]);
  await insert([{ name: "lutes", price: 2 }]);
  await shop.database.query("analyze product");
  // The size with which scans of the sort order are worthwhile.
  await shop.database.query("update pg_class set reltuples = 1e6 where oid = 'product'::regclass");
  await refreshAll();
});
afterAll(async () => {
  await db.close();
  await shop.close();
});

const insert = (rows: Omit<ProductInsert, "categoryId">[]) =>
  insertProducts(
    shop,
    rows.map((row) => ({ categoryId, ...row })),
  );

/** Completes all ranges. Transactions of other test files may delay that. */
const refreshAll = () =>
  vi.waitFor(
    async () => {
      await refreshWordRanges(db, internalCall());
      expect(await pendingWords()).toEqual([]);
    },
    { timeout: 60_000 },
  );

const pendingWords = () =>
  shop.database.query<{ word: string }>("select word from search_word_range where completed_at is null");

/** Returns the ranges that differ from those of the products with the word. */
const findDifferences = (condition: string) =>
  shop.database.query(`
    select word from search_word_range as known join lateral (
      select min(price_minor) as min_price, max(price_minor) as max_price, min(name) as min_name, max(name) as max_name
      from product where search @@ quote_literal(word)::tsquery
    ) as actual on true
    where ${condition}`);

const UNEQUAL = `(known.min_price, known.max_price, known.min_name, known.max_name)
  is distinct from (actual.min_price, actual.max_price, actual.min_name, actual.max_name)`;
const TOO_NARROW = `known.min_price is null or actual.min_price < known.min_price
  or actual.max_price > known.max_price or actual.min_name < known.min_name or actual.max_name > known.max_name`;

const findRange = async (word: string) => {
  const [range] = await shop.database.query<{ min_price: string; max_price: string }>(
    "select min_price, max_price from search_word_range where word = $1",
    [word],
  );
  return range;
};

async function idsInOrder(word: string, order: string): Promise<string[]> {
  const rows = await shop.database.query<{ id: string }>(
    `select id from product where search @@ $1::tsquery and active order by ${order}`,
    [word],
  );
  return rows.map(({ id }) => id);
}

const idsOf = async (request: ListRequest) => (await listAllProducts(shop, request)).map(({ id }) => id);

test("the ranges of frequent words, and of words that begin with them, are those of their products", async () => {
  const rows = await shop.database.query<{ word: string }>(
    "select word from search_word_range order by word",
  );
  expect(rows.map(({ word }) => word)).toEqual(["lute", "lutes", "rebec", "shawm", "z"]);
  expect(await findDifferences(UNEQUAL)).toEqual([]);
});

test.each([
  ["price", "price_minor, id"],
  ["price desc", "price_minor desc, id desc"],
  ["name", "name, id"],
  ["name desc", "name desc, id desc"],
])(
  "the pages of a frequent word sorted by %s contain all its products in that order",
  async (orderBy, order) => {
    expect(await idsOf({ query: "lute", orderBy, pageSize: 100 })).toEqual(await idsInOrder("lute:*", order));
  },
);

test("a search sorted by price or name reads the products in the range of its words only", async () => {
  const statements: CompiledStatement[] = [];
  const recorded = buildShop(recordStatements(db, statements));
  for (const orderBy of ["price", "price desc", "name", "name desc"]) {
    for (const query of ["rebec", "a shawm"]) {
      statements.splice(0);
      const page = await products({ query, orderBy })(recorded, "");
      expect(page.items).toHaveLength(20);
      let readRows = 0;
      for (const statement of statements.splice(0)) {
        readRows += (await explainStatement(shop.database, statement)).rows;
      }
      expect(readRows).toBeLessThan(1_000);
    }
  }
});

test("a price filter outside of the range of a word finds nothing without reading products", async () => {
  const statements: CompiledStatement[] = [];
  const recorded = buildShop(recordStatements(db, statements));
  const price = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
  const find = (filter: Parameters<typeof products>[0]) =>
    products({ query: "rebec", ...filter })(recorded, "").then(({ items }) => items.length);
  expect(await find({ maxPrice: price(89_999n) })).toBe(0);
  expect(await find({ minPrice: price(91_000n) })).toBe(0);
  expect(statements.filter(({ text }) => text.includes("popularity"))).toEqual([]);
  expect(await find({ maxPrice: price(90_000n) })).toBe(9);
  expect(await find({ minPrice: price(90_999n), maxPrice: price(95_000n) })).toBe(8);
});

test("changes of products widen the ranges of their words in the same transaction", async () => {
  const [cheapest = "", first = ""] = await insert([
    { name: "b lute", price: 7 },
    { name: "0 lute", price: 60_000 },
  ]);
  await insert([{ name: "b lute", description: "rebec", price: 95_000, deleted: true }]);
  expect(await findDifferences(TOO_NARROW)).toEqual([]);
  expect((await idsOf({ query: "lute", orderBy: "name", pageSize: 100 }))[0]).toBe(first);
  const [last = ""] = await idsInOrder("rebec", "price_minor desc, id desc");
  await shop.database.query("update product set price_minor = 99_000 where id = $1", [last]);
  await shop.database.query("update product set name = 'zz lute' where id = $1", [cheapest]);
  await shop.database.query("update product set description = 'shawm' where id = $1", [first]);
  expect(await findDifferences(TOO_NARROW)).toEqual([]);
  expect(await idsOf({ query: "rebec", orderBy: "price desc", pageSize: 100 })).toEqual(
    await idsInOrder("rebec", "price_minor desc, id desc"),
  );
  expect((await idsOf({ query: "lute", orderBy: "price", pageSize: 100 })).slice(1, 2)).toEqual([cheapest]);
  await shop.database.query("begin");
  await shop.database.query("update product set price_minor = 1 where id = $1", [cheapest]);
  await shop.database.query("rollback");
  expect(await findRange("lute")).toMatchObject({ min_price: "7" });
});

test("a range contains the products of a transaction that was running when its word was inserted", async () => {
  await shop.database.query("delete from search_word_range where word = 'shawm'");
  await shop.database.query("begin");
  await insert([{ name: "shawm", price: 3 }]);
  let isCommitted = false;
  const commit = async () => {
    if (!isCommitted) await shop.database.query("commit");
    isCommitted = true;
  };
  const waiting: Database = {
    ...db,
    async read(call, statement) {
      const rows = await db.read(call, statement);
      if (JSON.stringify(rows) === '[{"ended":false}]') await commit();
      return rows;
    },
  };
  await refreshWordRanges(waiting, internalCall());
  await commit();
  await refreshAll();
  expect(await findRange("shawm")).toMatchObject({ min_price: "3" });
});

test("an old range is computed again, so that it fits the current products", async () => {
  await shop.database.query("update product set price_minor = 1_500 where price_minor in (2, 3, 7)");
  await refreshAll();
  expect(await findRange("shawm")).toMatchObject({ min_price: "3" });
  await shop.database.query("update search_word_range set completed_at = now() - interval '8 days'");
  await refreshAll();
  expect(await findDifferences(UNEQUAL)).toEqual([]);
});
