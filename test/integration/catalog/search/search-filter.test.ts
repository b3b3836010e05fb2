import { afterAll, beforeAll, expect, test } from "vitest";
import { insertProducts, type ListRequest, listAllProducts } from "../../../support/catalog/product-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  categoryId = await makeCategory(shop);
  const other = await makeCategory(shop);
  const words = Array.from({ length: 20 }, (_, at) => `quo${"abcdefghijklmnopqrst"[at]}`);
  const products = [
    ...words.map((word) => ({ name: `${word} lamp`, categoryId, price: 500 })),
    ...words.map((word) => ({ name: `${word} chair`, categoryId, price: 700 })),
    { name: "bare lamp", categoryId, price: 600 },
    { name: "quoa lamp elsewhere", categoryId: other, price: 500 },
    { name: "lamp 20cm", categoryId, price: 50 },
    { name: "lamp 30cm", categoryId, price: 60 },
    ...["O'Neill", "AT&T x.y@z.com/a-b", "&&", "Söhne + Co."].map((brand) => ({
      name: "tent",
      brand,
      categoryId,
    })),
    { name: "tent", brand: "Neill", categoryId },
  ];
  // insertProducts uses the end of the id as the sku: no number of a query is a prefix of these.
  const idOf = (at: number) => `00000000-0000-7000-8000-ffffffff${String(1_000 + at)}`;
  await insertProducts(
    shop,
    products.map((product, at) => ({ id: idOf(at), ...product })),
  );
});
afterAll(() => shop.close());

const sorts = ["", "price", "name desc"];
const search = async (request: ListRequest) =>
  (await listAllProducts(shop, { pageSize: 7, ...request })).map(({ name }) => name).sort();
const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

test.each(sorts)(
  "a prefix of many words restricts the matches of another word, sorted by %j",
  async (orderBy) => {
    const lamps = await search({ query: "quo lamp", orderBy });
    expect(lamps).toHaveLength(21);
    expect(lamps.every((name) => /^quo. lamp/.test(name))).toBe(true);
    expect(await search({ query: "quo chair lamp", orderBy })).toEqual([]);
  },
);

test.each(sorts)("a short number restricts the matches of a word, sorted by %j", async (orderBy) => {
  expect(await search({ query: "lamp 2", orderBy })).toEqual(["lamp 20cm"]);
});

test.each(sorts)("a search is restricted to a price range and a category, sorted by %j", async (orderBy) => {
  const range = { minPrice: eur(500n), maxPrice: eur(600n) };
  expect(await search({ query: "lamp", ...range, orderBy })).toHaveLength(22);
  expect(await search({ query: "lamp", ...range, categoryId, orderBy })).toHaveLength(21);
  expect(await search({ query: "bare lamp", ...range, categoryId, orderBy })).toEqual(["bare lamp"]);
  expect(await search({ query: "chair", ...range, orderBy })).toEqual([]);
});

test.each(["O'Neill", "AT&T x.y@z.com/a-b", "&&", "Söhne + Co."])(
  "a search is restricted to the brand %s",
  async (brand) => {
    for (const orderBy of sorts) {
      const found = await listAllProducts(shop, { query: "tent", brand, orderBy });
      expect(found.map((product) => product.brand)).toEqual([brand]);
    }
  },
);
