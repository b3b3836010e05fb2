import { afterAll, beforeAll, expect, test } from "vitest";
import { createProduct } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
/** A category and its child, each with a product. */
let [parentId, childId] = ["", ""];
beforeAll(async () => {
  // With the cache: a list by a slug is as old as the category.
  shop = await startShop({ CACHE: "on" });
  parentId = await createCategory("furniture");
  childId = await createCategory("chairs", parentId);
  await createProduct(shop, parentId, { sku: "parent" });
  await createProduct(shop, childId, { sku: "child" });
});
afterAll(() => shop.close());

async function createCategory(slug: string, parent = ""): Promise<string> {
  const { category } = await shop.catalog.createCategory({
    category: { slug, name: slug, parentId: parent },
  });
  return category?.id ?? "";
}

/** Returns the skus of the listed products. */
async function list(request: { categorySlug?: string; categoryId?: string }): Promise<string[]> {
  const { products } = await shop.catalog.listProducts(request);
  return products.map(({ sku }) => sku);
}

test("a list by the slug of a category is the list by its id", async () => {
  expect(await list({ categorySlug: "furniture" })).toEqual(["parent", "child"]);
  expect(await list({ categorySlug: "chairs" })).toEqual(["child"]);
  expect(await list({ categorySlug: "chairs", categoryId: childId })).toEqual(["child"]);
});

test("a slug and an id of different categories are rejected", async () => {
  expect(await failureOf(list({ categorySlug: "chairs", categoryId: parentId }))).toMatchObject({
    code: "InvalidArgument",
    fields: ["category_slug"],
  });
});

test("a page token of a list by slug continues the list by id, and no other", async () => {
  const first = await shop.catalog.listProducts({ categorySlug: "furniture", pageSize: 1 });
  const next = { pageSize: 1, pageToken: first.nextPageToken };
  const { products } = await shop.catalog.listProducts({ ...next, categoryId: parentId });
  expect(products.map(({ sku }) => sku)).toEqual(["child"]);
  expect(await failureOf(shop.catalog.listProducts({ ...next, categorySlug: "chairs" }))).toMatchObject({
    reason: "PAGE_TOKEN_INVALID",
  });
});

test("a list by slug follows each change of the slug immediately, although lists and errors are cached", async () => {
  const notFound = { code: "NotFound", reason: "CATEGORY_NOT_FOUND" };
  expect(await failureOf(list({ categorySlug: "lamps" }))).toMatchObject(notFound);
  const id = await createCategory("lamps");
  expect(await list({ categorySlug: "lamps" })).toEqual([]);
  await shop.catalog.updateCategory({ category: { id, slug: "lights" }, updateMask: { paths: ["slug"] } });
  expect(await failureOf(list({ categorySlug: "lamps" }))).toMatchObject(notFound);
  expect(await list({ categorySlug: "lights" })).toEqual([]);
  await shop.catalog.deleteCategory({ id });
  expect(await failureOf(list({ categorySlug: "lights" }))).toMatchObject(notFound);
});
