import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import { insertProducts, type ListRequest, listAllProducts } from "../../../support/catalog/product-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  // Rows that are inserted directly do not invalidate the cache.
  shop = await startShop({ CACHE: "off" });
  const { category } = await shop.catalog.createCategory({ category: { slug: "cameras", name: "Cameras" } });
  const categoryId = defined(category).id;
  const plain = await makeCategory(shop);
  await insertProducts(shop, [
    { name: "Camera", brand: "Voltera", categoryId: plain, price: 300 },
    { name: "Camera bag", brand: "Kestrane", categoryId: plain, price: 200 },
    { name: "Hammer", brand: "Voltera", categoryId: plain },
    { name: "Hamer", brand: "Typo", categoryId: plain },
    { name: "Kettle KX42", description: "Wasserkocher", categoryId: plain },
    { name: "Lens", categoryId },
    ...Array.from({ length: 30 }, (_, at) => ({ name: `Guitar ${at}`, categoryId: plain, price: at })),
  ]);
});
afterAll(() => shop.close());

describe.each(protocols)("over %s", (protocol) => {
  const search = async (request: ListRequest) => {
    const { products, correctedQuery } = await clientsOf(shop, protocol).catalog.listProducts(request);
    return { names: products.map(({ name }) => name).sort(), correctedQuery };
  };

  test.each([
    ["a missing letter", "camra", "camera", ["Camera", "Camera bag", "Lens"]],
    ["doubled letters", "voltterra", "voltera", ["Camera", "Hammer"]],
    ["a wrong letter", "kettlo", "kettle", ["Kettle KX42"]],
    ["one misspelled word of several", "Voltera hammr", "Voltera hammer", ["Hammer"]],
    ["two misspelled words", "voltra, camra!", "voltera, camera!", ["Camera"]],
    ["a misspelled word of a description", "waserkocher", "wasserkocher", ["Kettle KX42"]],
    ["a misspelled name of a category", "cameraz", "camera", ["Lens"]],
    ["a misspelled prefix", "wassrko", "wasserkocher", ["Kettle KX42"]],
  ])("a query with %s is corrected", async (_, query, correctedQuery, names) => {
    const found = await search({ query });
    expect(found.correctedQuery).toBe(correctedQuery);
    expect(names.every((name) => found.names.includes(name))).toBe(true);
  });

  test("a rare word is searched together with its correction", async () => {
    expect(await search({ query: "hamer" })).toEqual({
      names: ["Hamer", "Hammer"],
      correctedQuery: "hammer",
    });
  });

  test.each([
    ["has matches", "camera"],
    ["is a prefix with matches", "cam"],
    ["is too short", "kex"],
    ["has digits", "KX43"],
    ["resembles no indexed word", "xyzzyq"],
    ["has no matches after correction either", "camra xyzzyq"],
    ["has four misspelled words", "camra hammrr kettlo voltra"],
  ])("a query that %s is not corrected", async (_, query) => {
    expect((await search({ query })).correctedQuery).toBe("");
  });

  test("a corrected query keeps its filters", async () => {
    expect((await search({ query: "camra", brand: "Kestrane" })).names).toEqual(["Camera bag"]);
    expect(await search({ query: "camra", brand: "Unknown" })).toEqual({ names: [], correctedQuery: "" });
  });
});

test("all pages of a corrected query have the same correction, and its total counts the corrected query", async () => {
  const request = { query: "gitar", orderBy: "price", pageSize: 7, total: TotalMode.EXACT };
  const first = await shop.catalog.listProducts(request);
  expect(first).toMatchObject({ correctedQuery: "guitar", totalSize: 30 });
  // A more similar word is added now; the list keeps its correction.
  await insertProducts(shop, [{ name: "Gitara", categoryId: await makeCategory(shop), price: 99 }]);
  const second = await shop.catalog.listProducts({ ...request, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ correctedQuery: "guitar" });
  const rest = await listAllProducts(shop, { query: "guitar", orderBy: "price", pageSize: 100 });
  const names = [...first.products, ...second.products].map(({ name }) => name);
  expect(names).toEqual(rest.slice(0, 14).map(({ name }) => name));
});
