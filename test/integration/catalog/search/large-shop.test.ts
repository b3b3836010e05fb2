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
  // What is written past the service would not be seen through its cache.
  shop = await startShop({ CACHE: "off" });
  categoryId = await makeCategory(shop);
  const names = (at: number) => (at % 20 === 0 ? "oboe reed" : at % 7 === 0 ? "shawm reed" : "reed");
  await insert(Array.from({ length: 6_000 }, (_, at) => ({ name: names(at), sold: at })));
  // Of these a few are sold, and fewer than fill a page.
  await insert(
    Array.from({ length: 2_500 }, (_, at) => ({ name: "bombarde", sold: at % 250 === 0 ? at : 0 })),
  );
  // Most of a shop matches nothing that is looked for.
  await insert(Array.from({ length: 30_000 }, () => ({ name: "thing" })));
  await insert([
    ...Array.from({ length: 25 }, () => ({ description: "sordune", sold: 8_000 })),
    { name: "sordune" },
  ]);
  await insert([...[1, 2].map(() => ({ description: "zampogna", sold: 9_000 })), { name: "zampogna" }]);
  // What PostgreSQL believes the shop's size to be, before the service first asks.
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
  ["of which more than a page is sold", "reed", 20],
  ["of which more than a page is sold, on a page of another size", "reed", 100],
  ["of which less than a page is sold", "bombarde", 20],
  ["of which less than a page is sold, on one page", "bombarde", 100],
  ["beside another one", "shawm reed", 20],
])("a frequent word %s is listed by popularity, then by id, page by page", async (_, query, pageSize) => {
  const like = query === "reed" ? "%reed" : `%${query}%`;
  expect(await idsOf({ query, pageSize })).toEqual(await inOrder(like, "popularity desc, id desc"));
});

test.each(["bombarde", "shawm"])(
  "the least popular of %s come first when that is asked for",
  async (query) => {
    const { products } = await shop.catalog.listProducts({ query, orderBy: "relevance asc", pageSize: 20 });
    const expected = await inOrder(`${query}%`, "popularity, id");
    expect(products.map(({ id }) => id)).toEqual(expected.slice(0, 20));
  },
);

test("a word of some popular products is found in all that have it", async () => {
  // Few enough to rank, were it not for so many among the most popular.
  expect(new Set(await idsOf({ query: "oboe" }))).toEqual(new Set(await inOrder("oboe%", "id")));
});

test("few matches are ranked, however popular some are and however short the page", async () => {
  const found = await listAllProducts(shop, { query: "zampogna", pageSize: 1 });
  expect(found.map(({ name }) => name)).toEqual(["zampogna", "thing", "thing"]);
});

test.each([5, 20, 100])(
  "few matches are ranked, though they fill a page of %d with best-sellers",
  async (pageSize) => {
    const { products } = await shop.catalog.listProducts({ query: "sordune", pageSize });
    expect(products[0]?.name).toBe("sordune");
  },
);

test("what nothing has is not found", async () => {
  expect(await idsOf({ query: "oboe 9999x" })).toEqual([]);
});
