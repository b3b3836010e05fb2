import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Product } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  clientsOf,
  createProduct,
  missingId,
  protocols,
  readProduct,
  readResourceInfo,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
let product: Product;
beforeAll(async () => {
  shop = await startShop();
  categoryId = await makeCategory(shop);
});
beforeEach(async () => {
  product = await createProduct(shop, categoryId, {
    description: "Steel",
    brand: "Acme",
    imageUri: "https://example.com/a.png",
    stockQuantity: 7n,
    attributes: { color: "red", size: "M" },
  });
});
afterAll(() => shop.close());

const STALE = { code: "Aborted", reason: "STALE_ETAG" };
const NOT_FOUND = { code: "NotFound", reason: "PRODUCT_NOT_FOUND" };

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("an update changes the fields of its mask and no others", async () => {
    const { id } = product;
    const changed = await catalog().updateProduct({
      product: { id, name: "New", brand: "", attributes: { weight: "1 kg" }, description: "not in the mask" },
      updateMask: { paths: ["name", "brand", "attributes"] },
    });
    expect(changed.product).toMatchObject({
      sku: product.sku,
      description: "Steel",
      categoryId,
      price: product.price,
      stockQuantity: 7n,
      imageUri: product.imageUri,
      createTime: product.createTime,
      name: "New",
      brand: "",
      etag: "2",
    });
    expect(changed.product?.attributes).toEqual({ weight: "1 kg" });
    expect(await readProduct(shop, id)).toEqual(changed.product);
  });

  test("an update without a mask changes the fields that are not empty", async () => {
    const other = await makeCategory(shop);
    const price = { currencyCode: "USD", minorUnits: 5n };
    const { product: changed } = await catalog().updateProduct({
      product: { id: product.id.toUpperCase(), price, categoryId: other.toUpperCase(), stockQuantity: 99n },
    });
    expect(changed).toMatchObject({
      sku: product.sku,
      name: product.name,
      brand: "Acme",
      imageUri: product.imageUri,
      etag: "2",
      price,
      categoryId: other,
      stockQuantity: 7n,
      attributes: product.attributes,
    });
    expect(await readProduct(shop, product.id)).toEqual(changed);
  });

  test("an update with the mask * writes all updatable fields", async () => {
    const { id, sku, etag } = product;
    const price = { currencyCode: "EUR", minorUnits: 0n };
    const { product: changed } = await catalog().updateProduct({
      product: { id, etag, sku, name: "Bare", categoryId, price },
      updateMask: { paths: ["*"] },
    });
    expect(changed).toMatchObject({
      name: "Bare",
      description: "",
      brand: "",
      imageUri: "",
      stockQuantity: 7n,
    });
    expect(changed).toMatchObject({ attributes: {}, price });
  });

  test.each([
    ["without anything to change", {}, [], "INVALID_FIELD", ["update_mask"]],
    ["of an unknown path", { name: "x" }, ["colour"], "INVALID_FIELD", ["update_mask"]],
    ["of the stock", { stockQuantity: 9n }, ["stock_quantity"], "INVALID_FIELD", ["update_mask"]],
    ["of an output-only field", { etag: "1" }, ["etag"], "INVALID_FIELD", ["update_mask"]],
    [
      "of a path within a field",
      { attributes: { a: "b" } },
      ["attributes.a"],
      "INVALID_FIELD",
      ["update_mask"],
    ],
    [
      "that empties required fields",
      { brand: "B" },
      ["sku", "name", "brand", "category_id", "price"],
      "FIELD_REQUIRED",
      ["product.sku", "product.name", "product.category_id", "product.price"],
    ],
  ])("an update %s is rejected", async (_, values, paths, reason, fields) => {
    const { id } = product;
    const call = catalog().updateProduct({ product: { id, ...values }, updateMask: { paths } });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", reason, fields });
    expect(await readProduct(shop, id)).toEqual(product);
  });

  test("an update without an id is rejected, and one of an unknown product fails with NOT_FOUND", async () => {
    expect(await failureOf(catalog().updateProduct({ product: { name: "x" } }))).toMatchObject({
      reason: "FIELD_REQUIRED",
      fields: ["product.id"],
    });
    const call = () => catalog().updateProduct({ product: { id: missingId, name: "x" } });
    expect(await failureOf(call())).toMatchObject(NOT_FOUND);
    expect(await readResourceInfo(call())).toEqual(["cartwright", "product", missingId]);
  });

  test("every method with an etag rejects a stale one, and the error has the current one", async () => {
    const { id, etag } = product;
    await shop.catalog.updateProduct({ product: { id, etag, name: "Second" } });
    const stale = { ...STALE, metadata: { current_etag: "2" } };
    expect(await failureOf(catalog().updateProduct({ product: { id, etag, name: "x" } }))).toMatchObject(
      stale,
    );
    expect(await failureOf(catalog().deleteProduct({ id, etag }))).toMatchObject(stale);
    expect(await failureOf(catalog().deleteProduct({ id, etag: "never one" }))).toMatchObject(stale);
    expect(await readResourceInfo(catalog().deleteProduct({ id, etag }))).toEqual([
      "cartwright",
      "product",
      id,
    ]);
    expect((await catalog().deleteProduct({ id, etag: "2" })).product?.etag).toBe("3");
    expect(await failureOf(catalog().undeleteProduct({ id, etag: "2" }))).toMatchObject({
      ...STALE,
      metadata: { current_etag: "3" },
    });
    expect((await catalog().undeleteProduct({ id, etag: "3" })).product?.etag).toBe("4");
  });

  test("an update to a taken sku or an unknown category is rejected", async () => {
    const other = await createProduct(shop, categoryId);
    const { id } = product;
    expect(await failureOf(catalog().updateProduct({ product: { id, sku: other.sku } }))).toMatchObject({
      code: "AlreadyExists",
      reason: "SKU_TAKEN",
    });
    expect(
      await failureOf(catalog().updateProduct({ product: { id, categoryId: missingId } })),
    ).toMatchObject({
      code: "NotFound",
      reason: "CATEGORY_NOT_FOUND",
    });
    expect(await readProduct(shop, id)).toEqual(product);
  });

  test("a product is deleted once, keeps its fields, and is undeleted once", async () => {
    const { id } = product;
    const { product: deleted } = await catalog().deleteProduct({ id: id.toUpperCase() });
    expect(deleted).toMatchObject({
      id,
      sku: product.sku,
      stockQuantity: 7n,
      attributes: product.attributes,
    });
    expect(deleted?.deleteTime).toEqual(deleted?.updateTime);
    for (const etag of ["", "1", deleted?.etag]) {
      expect(await failureOf(catalog().deleteProduct({ id, etag }))).toMatchObject(NOT_FOUND);
    }
    expect(await failureOf(catalog().updateProduct({ product: { id, name: "x" } }))).toMatchObject({
      code: "FailedPrecondition",
      reason: "PRODUCT_DELETED",
      preconditions: ["DELETED"],
    });
    const { product: back } = await catalog().undeleteProduct({ id: id.toUpperCase() });
    expect(back).toMatchObject({ name: product.name, stockQuantity: 7n });
    expect(back?.deleteTime).toBeUndefined();
    const again = () => catalog().undeleteProduct({ id });
    expect(await failureOf(again())).toMatchObject({ code: "AlreadyExists", reason: "PRODUCT_NOT_DELETED" });
    expect(await readResourceInfo(again())).toEqual(["cartwright", "product", id]);
    expect(await readProduct(shop, id)).toEqual(back);
  });

  test("an unknown product cannot be deleted or undeleted", async () => {
    expect(await failureOf(catalog().deleteProduct({ id: missingId }))).toMatchObject(NOT_FOUND);
    expect(await failureOf(catalog().undeleteProduct({ id: missingId }))).toMatchObject(NOT_FOUND);
    for (const id of ["", "1", `${missingId}0`]) {
      const invalid = { code: "InvalidArgument", fields: ["id"] };
      expect(await failureOf(catalog().deleteProduct({ id }))).toMatchObject(invalid);
      expect(await failureOf(catalog().undeleteProduct({ id }))).toMatchObject(invalid);
    }
  });
});

describe("concurrent calls", () => {
  const outcomesOf = async (calls: Promise<unknown>[]) => {
    const settled = await Promise.allSettled(calls);
    const failures = calls.filter((_, at) => settled[at]?.status === "rejected").map(failureOf);
    return { done: calls.length - failures.length, failures: await Promise.all(failures) };
  };

  test("two concurrent updates without an etag both take effect", async () => {
    const { id } = product;
    const { done } = await outcomesOf([
      shop.catalog.updateProduct({ product: { id, name: "Named" } }),
      shop.json.catalog.updateProduct({ product: { id, brand: "Branded" } }),
    ]);
    expect(done).toBe(2);
    expect(await readProduct(shop, id)).toMatchObject({ name: "Named", brand: "Branded", etag: "3" });
  });

  test("of ten concurrent updates with the same etag, one takes effect", async () => {
    const { id, etag } = product;
    const { done, failures } = await outcomesOf(
      Array.from({ length: 10 }, (_, at) =>
        shop.catalog.updateProduct({ product: { id, etag, name: `Name ${at}` } }),
      ),
    );
    expect(done).toBe(1);
    expect(failures).toMatchObject(Array.from({ length: 9 }, () => STALE));
    expect((await readProduct(shop, id)).etag).toBe("2");
  });

  test("of five concurrent deletes, one takes effect", async () => {
    const { id } = product;
    const { done, failures } = await outcomesOf(
      Array.from({ length: 5 }, () => shop.catalog.deleteProduct({ id })),
    );
    expect(done).toBe(1);
    expect(failures).toMatchObject(Array.from({ length: 4 }, () => NOT_FOUND));
  });

  test("changes of stock keep the etag, so that an update with an etag read before still succeeds", async () => {
    const { id, etag } = product;
    await shop.catalog.adjustStock({ productId: id, delta: -1n, reason: 3 });
    const { product: changed } = await shop.catalog.updateProduct({ product: { id, etag, name: "After" } });
    expect(changed).toMatchObject({ name: "After", stockQuantity: 6n, etag: "2" });
  });
});

test("a mask with a huge path or more than 50 paths is rejected briefly, and repeated paths are accepted", async () => {
  const { id } = product;
  for (const { catalog } of [shop, shop.json]) {
    const path = "x".repeat(100_000);
    const huge = catalog.updateProduct({ product: { id, name: "x" }, updateMask: { paths: [path] } });
    const failure = await failureOf(huge);
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["update_mask"] });
    expect(failure.message.length).toBeLessThan(400);
    const read = catalog.getProduct({ key: { case: "id", value: id }, readMask: { paths: [path] } });
    expect(await failureOf(read)).toMatchObject({ code: "InvalidArgument", fields: ["read_mask"] });
    const names = (length: number) => ({
      product: { id, name: "Long" },
      updateMask: { paths: Array.from({ length }, () => "name") },
    });
    expect(await failureOf(catalog.updateProduct(names(51)))).toMatchObject({ fields: ["update_mask"] });
    const { product: changed } = await catalog.updateProduct(names(50));
    expect(changed?.name).toBe("Long");
  }
});
