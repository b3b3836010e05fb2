import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Product } from "../../../../src/catalog/product/product-row.ts";
import { newProduct, openTagRecorder, type TagRecorder } from "../../../support/orders/invalidated-tags.ts";
import { countLockWaits } from "../../../support/stores/database-activity.ts";

let shop: TagRecorder;
let categoryId: string;
beforeAll(async () => {
  shop = await openTagRecorder();
  categoryId = (await shop.makeCategory()).id;
});
afterAll(() => shop.close());

const options = { requestId: "", validateOnly: false };

function tagsOf({ id, sku }: Pick<Product, "id" | "sku">, ...more: string[]): string[] {
  return [...more, `product:${id}`, `sku:${sku}`].toSorted();
}

test("a change of a product invalidates it and its lists, and the categories when their counts change", async () => {
  const { call, catalog } = shop;
  const { products } = catalog;
  const input = { ...newProduct(categoryId), stockQuantity: 1n };
  const create = { product: input, requestId: randomUUID(), validateOnly: false };
  const tags = await shop.tagsOf(() => products.create(call, create));
  const product = await products.create(call, create);
  expect(tags).toEqual(tagsOf(product, "catalog", "categories"));
  expect(await shop.tagsOf(() => products.create(call, create))).toEqual([]);
  const trial = {
    product: { ...newProduct(categoryId), stockQuantity: 1n },
    requestId: "",
    validateOnly: true,
  };
  expect(await shop.tagsOf(() => products.create(call, trial))).toEqual([]);

  const update = (change: object, mask: string[]) =>
    shop.tagsOf(() =>
      products.update(call, { ...options, product: { ...input, id: product.id, etag: "", ...change }, mask }),
    );
  expect(await update({ name: "Other" }, ["name"])).toEqual(tagsOf(product, "catalog"));
  expect(await update({ categoryId }, ["category_id"])).toEqual(tagsOf(product, "catalog"));
  const elsewhere = (await shop.makeCategory()).id;
  expect(await update({ categoryId: elsewhere }, ["category_id"])).toEqual(
    tagsOf(product, "catalog", "categories"),
  );
  const sku = `NEW-${product.sku}`;
  expect(await update({ sku }, ["sku"])).toEqual(tagsOf(product, "catalog", `sku:${sku}`));
  const renamed = { id: product.id, sku };
  for (const change of [products.delete, products.undelete]) {
    expect(await shop.tagsOf(() => change(call, product.id.toUpperCase(), ""))).toEqual(
      tagsOf(renamed, "catalog", "categories"),
    );
  }
});

test("a change of a category invalidates the categories and the lists of products, which may name it by its slug", async () => {
  const { call, catalog } = shop;
  const category = { slug: "tagged", name: "Tagged", parentId: "" };
  const create = { ...options, category, requestId: randomUUID() };
  expect(await shop.tagsOf(() => catalog.categories.create(call, create))).toEqual(["catalog", "categories"]);
  const { id } = await catalog.categories.create(call, create);
  const update = { ...options, category: { ...category, id, etag: "", name: "Other" }, mask: ["name"] };
  expect(await shop.tagsOf(() => catalog.categories.update(call, update))).toEqual(["catalog", "categories"]);
  expect(await shop.tagsOf(() => catalog.categories.delete(call, id, ""))).toEqual(["catalog", "categories"]);
});

test("a change of stock by staff invalidates its product and lists", async () => {
  const product = await shop.makeProduct(categoryId, 2n);
  const adjust = (delta: bigint) =>
    shop.tagsOf(() =>
      shop.catalog.adjustStock(shop.call, {
        productId: product.id,
        delta,
        countedOnHand: undefined,
        expectedQuantity: undefined,
        reason: "CORRECTION",
        effectiveTime: undefined,
        requestId: "",
      }),
    );
  expect(await adjust(-1n)).toEqual(tagsOf(product, "catalog"));
  expect(await adjust(5n)).toEqual(tagsOf(product, "catalog"));
});

test.each([
  ["moved", (other: string) => `category_id = '${other}'`],
  ["deleted", () => "deleted_at = now()"],
])("an import of a product that is %s while it waits invalidates the categories", async (_, change) => {
  const input = newProduct(categoryId);
  const { call, catalog, database } = shop;
  const create = { product: { ...input, stockQuantity: 1n }, requestId: "", validateOnly: false };
  const product = await catalog.products.create(call, create);
  const other = (await shop.makeCategory()).id;
  async function* chunks() {
    const fields = { ...input, name: "Imported", categorySlug: "", stockQuantity: undefined };
    const header = { requestId: randomUUID(), mode: "INCREMENTAL", maxDeletes: undefined } as const;
    yield { ...header, offset: 0, rows: [{ sku: input.sku, fields }] };
  }
  await database.query("begin");
  await database.query(`update product set ${change(other)} where id = $1`, [product.id]);
  const tags = await shop.tagsOf(async () => {
    const importing = catalog.importProducts(call, chunks());
    await expect.poll(() => countLockWaits(database, 'not active as "isDeleted"')).toBe(1);
    await database.query("commit");
    expect(await importing).toMatchObject({ updatedCount: 1 });
  });
  expect(tags).toEqual(tagsOf(product, "catalog", "categories"));
  expect(
    await catalog.products.get(
      call,
      { column: "id", value: product.id },
      { showDeleted: false, readMask: [] },
    ),
  ).toMatchObject({ categoryId });
});
