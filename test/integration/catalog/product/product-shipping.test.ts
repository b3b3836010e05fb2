import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fingerprint } from "../../../../src/kernel/canonical-json.ts";
import {
  clientsOf,
  createProduct,
  defined,
  productFields,
  protocols,
  readProduct,
} from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { newProduct, openTagRecorder } from "../../../support/orders/invalidated-tags.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let categoryId: string;
beforeAll(async () => {
  shop = await startShop();
  categoryId = await makeCategory(shop);
});
afterAll(() => shop.close());

const BOOK = { taxClass: "reduced", weightGrams: 450n };

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("a product is created with a tax class and a weight, or with the standard class and without a weight", async () => {
    const created = await createProduct(clientsOf(shop, protocol), categoryId, BOOK);
    expect(created).toMatchObject({ ...BOOK, etag: "1" });
    expect(await readProduct(clientsOf(shop, protocol), created.id)).toEqual(created);
    expect(await createProduct(clientsOf(shop, protocol), categoryId)).toMatchObject({
      taxClass: "",
      weightGrams: 0n,
    });
    const widest = { taxClass: "-_09az".padEnd(32, "x"), weightGrams: 1_000_000_000n };
    expect(await createProduct(clientsOf(shop, protocol), categoryId, widest)).toMatchObject(widest);
  });

  test("an update writes the tax class and the weight that its mask names, also empty ones", async () => {
    const { id } = await createProduct(shop, categoryId, BOOK);
    const update = async (paths: string[]) => {
      const product = { id, name: "Book", weightGrams: 500n };
      return (await catalog().updateProduct({ product, updateMask: { paths } })).product;
    };
    expect(await update(["name"])).toMatchObject({ ...BOOK, name: "Book", etag: "2" });
    expect(await update(["weight_grams"])).toMatchObject({ ...BOOK, weightGrams: 500n, etag: "3" });
    expect(await update(["tax_class"])).toMatchObject({ taxClass: "", weightGrams: 500n, etag: "4" });
    const { product } = await catalog().updateProduct({
      product: { id },
      updateMask: { paths: ["weight_grams"] },
    });
    expect(product).toMatchObject({ taxClass: "", weightGrams: 0n, etag: "5" });
    expect(await readProduct(shop, id)).toEqual(product);
  });

  test("an update without a mask keeps the tax class and the weight unless it has new ones", async () => {
    const { id } = await createProduct(shop, categoryId, BOOK);
    const renamed = await catalog().updateProduct({ product: { id, name: "Renamed" } });
    expect(renamed.product).toMatchObject({ ...BOOK, name: "Renamed" });
    const changed = await catalog().updateProduct({ product: { id, taxClass: "zero", weightGrams: 1n } });
    expect(changed.product).toMatchObject({ name: "Renamed", taxClass: "zero", weightGrams: 1n });
  });

  test("an update with the mask * resets the tax class and the weight that it lacks", async () => {
    const { id, sku, name, price } = await createProduct(shop, categoryId, BOOK);
    const { product } = await catalog().updateProduct({
      product: { id, sku, name, categoryId, price },
      updateMask: { paths: ["*"] },
    });
    expect(product).toMatchObject({ taxClass: "", weightGrams: 0n });
  });

  test("read masks select the tax class and the weight by themselves", async () => {
    const { id } = await createProduct(shop, categoryId, BOOK);
    const key = { case: "id", value: id } as const;
    const read = async (paths: string[]) =>
      (await catalog().getProduct({ key, readMask: { paths } })).product;
    expect(await read(["tax_class"])).toMatchObject({ id, name: "", taxClass: "reduced", weightGrams: 0n });
    expect(await read(["weight_grams"])).toMatchObject({ id, name: "", taxClass: "", weightGrams: 450n });
  });

  test("cached responses show a new tax class and weight immediately", async () => {
    const category = await makeCategory(shop);
    const { id } = await createProduct(shop, category);
    const readAll = async () => {
      const { product } = await catalog().getProduct({ key: { case: "id", value: id } });
      const batch = await catalog().batchGetProducts({ ids: [id] });
      const list = await catalog().listProducts({ categoryId: category });
      return [product, ...batch.products, ...list.products].map((found) => {
        const { taxClass, weightGrams } = defined(found);
        return { taxClass, weightGrams };
      });
    };
    const none = { taxClass: "", weightGrams: 0n };
    expect(await readAll()).toEqual([none, none, none]);
    await shop.catalog.updateProduct({ product: { id, ...BOOK } });
    expect(await readAll()).toEqual([BOOK, BOOK, BOOK]);
    expect(await readAll()).toEqual([BOOK, BOOK, BOOK]);
  });

  test.each([
    ["tax_class", { taxClass: "Reduced" }],
    ["tax_class", { taxClass: "two words" }],
    ["tax_class", { taxClass: "reduced\n" }],
    ["tax_class", { taxClass: "ermäßigt" }],
    ["tax_class", { taxClass: "x".repeat(33) }],
    ["weight_grams", { weightGrams: -1n }],
    ["weight_grams", { weightGrams: 1_000_000_001n }],
  ])("a %s out of bounds is rejected: %o", async (field, wrong) => {
    const product = await createProduct(shop, categoryId, BOOK);
    const invalid = {
      code: "InvalidArgument",
      reason: "INVALID_REQUEST",
      fields: [`product.${field}`],
    };
    const create = catalog().createProduct({ product: productFields(categoryId, wrong) });
    expect(await failureOf(create)).toMatchObject(invalid);
    const update = catalog().updateProduct({
      product: { id: product.id, ...wrong },
      updateMask: { paths: [field] },
    });
    expect(await failureOf(update)).toMatchObject(invalid);
    expect(await readProduct(shop, product.id)).toEqual(product);
  });
});

test("a request without a tax class and a weight has the fingerprint that earlier versions stored", async () => {
  const requestId = randomUUID();
  const { sku = "", name = "" } = productFields(categoryId);
  const price = { currencyCode: "EUR", minorUnits: 1_000n };
  await shop.catalog.createProduct({ product: { sku, name, categoryId, price }, requestId });
  const [stored] = await shop.database.query<{ fingerprint: Buffer }>(
    "select fingerprint from idempotency where request_id = $1",
    [requestId],
  );
  const earlier = { sku, name, categoryId, price, stockQuantity: 0n };
  expect(stored?.fingerprint).toEqual(fingerprint(earlier));
});

test("the fields of ordered products have the tax class and the weight", async () => {
  const features = await openTagRecorder();
  try {
    const { db, call, catalog } = features;
    const { id: category } = await features.makeCategory();
    const product = { ...newProduct(category), ...BOOK, stockQuantity: 1n };
    const book = await catalog.products.create(call, { product, requestId: "", validateOnly: false });
    const plain = await features.makeProduct(category, 1n);
    const ordered = await db.transact(call, (tx) => catalog.findOrdered(tx, [book.id, plain.id]));
    expect(ordered.get(book.id)).toMatchObject({ ...BOOK, sku: book.sku, isActive: true });
    expect(ordered.get(plain.id)).toMatchObject({ taxClass: "", weightGrams: 0n });
  } finally {
    await features.close();
  }
});
