import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import { insertProducts, type ListRequest, listAllProducts } from "../../../support/catalog/product-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  // What is written past the service would not be seen through its cache.
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
    ["a letter too few", "camra", "camera", ["Camera", "Camera bag", "Lens"]],
    ["a letter too many", "voltterra", "voltera", ["Camera", "Hammer"]],
    ["a wrong letter", "kettlo", "kettle", ["Kettle KX42"]],
    ["one word of several", "Voltera hammr", "Voltera hammer", ["Hammer"]],
    ["two words", "voltra, camra!", "voltera, camera!", ["Camera"]],
    ["a word of a description", "waserkocher", "wasserkocher", ["Kettle KX42"]],
    ["a name of a category", "cameraz", "camera", ["Lens"]],
    ["a word of which only the beginning is typed", "wassrko", "wasserkocher", ["Kettle KX42"]],
  ])("%s is forgiven", async (_, query, correctedQuery, names) => {
    const found = await search({ query });
    expect(found.correctedQuery).toBe(correctedQuery);
    expect(names.every((name) => found.names.includes(name))).toBe(true);
  });

  test("a word that next to no product has counts beside what it may mean", async () => {
    expect(await search({ query: "hamer" })).toEqual({
      names: ["Hamer", "Hammer"],
      correctedQuery: "hammer",
    });
  });

  test.each([
    ["is found", "camera"],
    ["is the beginning of a word", "cam"],
    ["is too short", "kex"],
    ["has digits", "KX43"],
    ["resembles nothing", "xyzzyq"],
    ["would still leave nothing", "camra xyzzyq"],
    ["is more than three times wrong", "camra hammrr kettlo voltra"],
  ])("a query that %s is left as it is", async (_, query) => {
    expect((await search({ query })).correctedQuery).toBe("");
  });

  test("filters stay as they are", async () => {
    expect((await search({ query: "camra", brand: "Kestrane" })).names).toEqual(["Camera bag"]);
    expect(await search({ query: "camra", brand: "Nobody" })).toEqual({ names: [], correctedQuery: "" });
  });
});

test("a corrected list goes on as it began, and its total is its own", async () => {
  const request = { query: "gitar", orderBy: "price", pageSize: 7, total: TotalMode.EXACT };
  const first = await shop.catalog.listProducts(request);
  expect(first).toMatchObject({ correctedQuery: "guitar", totalSize: 30 });
  // A nearer word has come: it is not that of this list.
  await insertProducts(shop, [{ name: "Gitara", categoryId: await makeCategory(shop), price: 99 }]);
  const second = await shop.catalog.listProducts({ ...request, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ correctedQuery: "guitar" });
  const rest = await listAllProducts(shop, { query: "guitar", orderBy: "price", pageSize: 100 });
  const names = [...first.products, ...second.products].map(({ name }) => name);
  expect(names).toEqual(rest.slice(0, 14).map(({ name }) => name));
});
