import { afterAll, beforeAll, expect, test } from "vitest";
import {
  insertProducts,
  type ListRequest,
  listAllProducts,
  type ProductInsert,
} from "../../../support/catalog/product-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  categoryId = await makeCategory(shop);
  const names = (at: number) => (at % 20 === 0 ? "oboe reed" : at % 7 === 0 ? "shawm reed" : "reed");
  await insert(Array.from({ length: 6_000 }, (_, at) => ({ name: names(at), sold: at })));
  // Fewer of these are sold than fill a page.
  await insert(
    Array.from({ length: 2_500 }, (_, at) => ({ name: "bombarde", sold: at % 250 === 0 ? at : 0 })),
  );
  // Most products of the shop match no query.
  await insert(Array.from({ length: 30_000 }, () => ({ name: "thing" })));
  await insert([
    ...Array.from({ length: 25 }, () => ({ description: "sordune", sold: 8_000 })),
    { name: "sordune" },
  ]);
  await insert([...[1, 2].map(() => ({ description: "zampogna", sold: 9_000 })), { name: "zampogna" }]);
  // The size that PostgreSQL estimates, before the service first reads it.
  await shop.database.query("update pg_class set reltuples = 1e6 where oid = 'product'::regclass");
});
afterAll(() => shop.close());

const insert = (products: Omit<ProductInsert, "categoryId">[]) =>
  insertProducts(
    shop,
    products.map((product) => ({ categoryId, ...product })),
  );

const idsOf = async (request: ListRequest) => (await listAllProducts(shop, request)).map(({ id }) => id);

async function inOrder(like: string, order: string): Promise<string[]> {
  const rows = await shop.database.query<{ id: string }>(
    `select id from product where name like $1 and active order by ${order}`,
    [like],
  );
  return rows.map(({ id }) => id);
}

test.each([
  ["with more sold products than a page", "reed", 20],
  ["with more sold products than a page, on large pages", "reed", 100],
  ["with fewer sold products than a page", "bombarde", 20],
  ["with fewer sold products than a page, on large pages", "bombarde", 100],
  ["with a second word", "shawm reed", 20],
])(
  "the matches of a frequent word %s are sorted by popularity and id on all pages",
  async (_, query, pageSize) => {
    const like = query === "reed" ? "%reed" : `%${query}%`;
    expect(await idsOf({ query, pageSize })).toEqual(await inOrder(like, "popularity desc, id desc"));
  },
);

test.each(["bombarde", "shawm"])(
  "ascending relevance lists the least popular matches of %s first",
  async (query) => {
    const { products } = await shop.catalog.listProducts({ query, orderBy: "relevance asc", pageSize: 20 });
    const expected = await inOrder(`${query}%`, "popularity, id");
    expect(products.map(({ id }) => id)).toEqual(expected.slice(0, 20));
  },
);

test("a word that popular products have is found in all products that have it", async () => {
  // Few enough to be ranked, but many of them are among the most popular products.
  expect(new Set(await idsOf({ query: "oboe" }))).toEqual(new Set(await inOrder("oboe%", "id")));
});

test("few matches are ranked by relevance although some are very popular and the page is short", async () => {
  const found = await listAllProducts(shop, { query: "zampogna", pageSize: 1 });
  expect(found.map(({ name }) => name)).toEqual(["zampogna", "thing", "thing"]);
});

test.each([5, 20, 100])(
  "few matches are ranked by relevance although popular ones fill a page of %d",
  async (pageSize) => {
    const { products } = await shop.catalog.listProducts({ query: "sordune", pageSize });
    expect(products[0]?.name).toBe("sordune");
  },
);

test("a search without matches finds nothing", async () => {
  expect(await idsOf({ query: "oboe 9999x" })).toEqual([]);
});
