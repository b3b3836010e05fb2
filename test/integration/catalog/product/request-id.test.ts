import { randomUUID } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProductSchema } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  clientsOf,
  createProduct,
  defined,
  missingId,
  productFields,
  protocols,
  readProduct,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  shop = await startShop();
  categoryId = await makeCategory(shop);
});
afterAll(() => shop.close());

const REUSED = { code: "InvalidArgument", reason: "REQUEST_ID_REUSED", fields: ["request_id"] };

/** Counts the rows that a change could have written. */
const countRows = () =>
  shop.database.query(`select (select count(*) from product) as products, (select count(*) from category) as categories,
    (select count(*) from stock_movement) as movements, (select count(*) from idempotency) as requests`);

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("a repeated create returns the first response, byte for byte, although the product has changed since", async () => {
    const request = {
      product: productFields(categoryId, { stockQuantity: 3n, attributes: { b: "2", a: "1" }, brand: "Ä" }),
      requestId: randomUUID(),
    };
    const first = defined((await catalog().createProduct(request)).product);
    await shop.catalog.updateProduct({ product: { id: first.id, name: "Renamed" } });
    await shop.catalog.deleteProduct({ id: first.id });
    const again = { product: { ...request.product, attributes: { a: "1", b: "2" } } };
    const repeat = await catalog().createProduct({ ...again, requestId: request.requestId.toUpperCase() });
    expect(toBinary(ProductSchema, defined(repeat.product))).toEqual(toBinary(ProductSchema, first));
    expect((await readProduct(shop, first.id)).name).toBe("Renamed");
  });

  test("a request_id with another body is rejected", async () => {
    const requestId = randomUUID();
    const product = productFields(categoryId);
    await catalog().createProduct({ product, requestId });
    for (const other of [{ name: "Other" }, { stockQuantity: 1n }, { attributes: { a: "" } }]) {
      const call = catalog().createProduct({ product: { ...product, ...other }, requestId });
      expect(await failureOf(call)).toMatchObject(REUSED);
    }
  });

  test("a request_id can be used once with each method", async () => {
    const requestId = randomUUID();
    const { product } = await catalog().createProduct({ product: productFields(categoryId), requestId });
    const changed = await catalog().updateProduct({ product: { id: product?.id, name: "New" }, requestId });
    expect(changed.product?.name).toBe("New");
    const slug = `s-${requestId}`;
    await catalog().createCategory({ category: { slug, name: "New" }, requestId });
  });

  test("a repeated update returns the first response and changes nothing", async () => {
    const { id } = await createProduct(shop, categoryId);
    const request = { product: { id, etag: "1", name: "New" }, requestId: randomUUID() };
    const first = await catalog().updateProduct(request);
    await shop.catalog.updateProduct({ product: { id, name: "Newer" } });
    expect(await catalog().updateProduct(request)).toEqual(first);
    expect(await readProduct(shop, id)).toMatchObject({ name: "Newer", etag: "3" });
    const masked = { ...request, updateMask: { paths: ["name", "brand"] } };
    expect(await failureOf(catalog().updateProduct(masked))).toMatchObject(REUSED);
  });

  test("a repeated create or update of a category returns the first response", async () => {
    const requestId = randomUUID();
    const request = { category: { slug: `c-${requestId}`, name: "C" }, requestId };
    const first = await catalog().createCategory(request);
    expect(await catalog().createCategory(request)).toEqual(first);
    const update = { category: { id: first.category?.id, name: "D" }, requestId: randomUUID() };
    const changed = await catalog().updateCategory(update);
    expect(await catalog().updateCategory(update)).toEqual(changed);
    expect(changed.category?.etag).toBe("2");
    expect(
      await failureOf(catalog().createCategory({ ...request, category: { name: "E", slug: "e" } })),
    ).toMatchObject(REUSED);
  });

  test("a failed request can be repeated with its request_id until it succeeds", async () => {
    const { sku, id } = await createProduct(shop, categoryId);
    const request = { product: productFields(categoryId, { sku }), requestId: randomUUID() };
    expect(await failureOf(catalog().createProduct(request))).toMatchObject({ reason: "SKU_TAKEN" });
    await shop.catalog.updateProduct({ product: { id, sku: `${sku}-OLD` } });
    const { product } = await catalog().createProduct(request);
    expect(product?.sku).toBe(sku);
  });

  test("ten concurrent creates with one request_id create one product and all return it", async () => {
    const request = { product: productFields(categoryId), requestId: randomUUID() };
    const responses = await Promise.all(Array.from({ length: 10 }, () => catalog().createProduct(request)));
    expect(new Set(responses.map(({ product }) => product?.id)).size).toBe(1);
    const found = await shop.database.query("select id from product where sku = $1", [request.product.sku]);
    expect(found).toEqual([{ id: responses[0]?.product?.id }]);
  });

  test("of two concurrent creates with one request_id and different bodies, one is rejected", async () => {
    const requestId = randomUUID();
    const calls = [1, 2].map(() =>
      catalog().createProduct({ product: productFields(categoryId), requestId }),
    );
    const settled = await Promise.allSettled(calls);
    const failed = calls.filter((_, at) => settled[at]?.status === "rejected");
    expect(await Promise.all(failed.map(failureOf))).toMatchObject([REUSED]);
  });

  test("validate_only returns the result and changes nothing", async () => {
    const product = await createProduct(shop, categoryId, { stockQuantity: 2n });
    const before = await countRows();
    const options = { validateOnly: true, requestId: randomUUID() };
    const input = productFields(categoryId, { stockQuantity: 5n });
    const created = await catalog().createProduct({ ...options, product: input });
    expect(created.product).toMatchObject({ sku: input.sku, stockQuantity: 5n, etag: "1" });
    const changed = await catalog().updateProduct({ ...options, product: { id: product.id, name: "New" } });
    expect(changed.product).toMatchObject({ name: "New", etag: "2" });
    const slug = `v-${options.requestId}`;
    const category = { ...options, category: { slug, name: "V", parentId: categoryId } };
    expect((await catalog().createCategory(category)).category).toMatchObject({ slug, parentId: categoryId });
    const renamed = await catalog().updateCategory({ ...options, category: { id: categoryId, name: "R" } });
    expect(renamed.category).toMatchObject({ name: "R", etag: "2" });
    expect(await countRows()).toEqual(before);
    expect(await readProduct(shop, product.id)).toEqual(product);
    // The request_id can still be used.
    const { product: real } = await catalog().createProduct({ product: input, requestId: options.requestId });
    expect(real?.sku).toBe(input.sku);
  });

  test("validate_only returns the errors of the change", async () => {
    const { sku, id } = await createProduct(shop, categoryId);
    const validateOnly = true;
    const create = (more: object) =>
      failureOf(catalog().createProduct({ validateOnly, product: productFields(categoryId, more) }));
    expect(await create({ sku })).toMatchObject({ code: "AlreadyExists", reason: "SKU_TAKEN" });
    expect(await create({ categoryId: missingId })).toMatchObject({ reason: "CATEGORY_NOT_FOUND" });
    expect(await create({ name: "" })).toMatchObject({ reason: "FIELD_REQUIRED" });
    const update = (etag: string) =>
      catalog().updateProduct({ validateOnly, product: { id, etag, name: "N" } });
    expect(await failureOf(update("9"))).toMatchObject({ code: "Aborted", reason: "STALE_ETAG" });
    expect((await update("1")).product?.name).toBe("N");
    const circle = { id: categoryId, parentId: categoryId };
    expect(await failureOf(catalog().updateCategory({ validateOnly, category: circle }))).toMatchObject({
      reason: "CATEGORY_CIRCLE",
    });
  });
});
