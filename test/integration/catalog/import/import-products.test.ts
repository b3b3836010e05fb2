import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  createCategorySlug,
  createHeader,
  createRow,
  createRows,
  importRows,
  type RowInit,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const bySku = async (sku: string) => {
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: sku }, showDeleted: true });
  if (product === undefined) throw new Error("no product");
  return product;
};

const counts = { createdCount: 0n, updatedCount: 0n, unchangedCount: 0n, deletedCount: 0n, failedCount: 0n };

describe("valid rows", () => {
  test("a row creates a product with all of its fields", async () => {
    const full: RowInit = createRow(slug, "whole", {
      description: "Green, and round.",
      brand: "Import Works",
      stockQuantity: 7n,
      imageUri: "https://images.example/1.jpg",
      attributes: { color: "green", 'ta"x': "a\\b{,}" },
    });
    const report = await importRows(shop, [full, createRow(slug, "bare")]);
    expect(report).toMatchObject({ ...counts, rowCount: 2n, createdCount: 2n, errors: [], replayed: false });
    const { categorySlug: _, ...fields } = full;
    expect(await bySku("whole")).toMatchObject({ ...fields, etag: "1", purchaseCount: 0n });
    expect(await bySku("bare")).toMatchObject({ stockQuantity: 0n, brand: "", attributes: {}, etag: "1" });
    const { products } = await shop.catalog.listProducts({ query: "import works" });
    expect(products.map(({ sku }) => sku)).toEqual(["whole"]);
  });

  test("a row updates the fields that differ, and leaves an equal product untouched", async () => {
    const rows = createRows(slug, "again-", 4, { stockQuantity: 5n });
    await importRows(shop, rows);
    const [first, , third] = await Promise.all(["again-1", "again-2", "again-3"].map(bySku));
    const next = [
      { ...createRow(slug, "again-1"), price: { currencyCode: "EUR", minorUnits: 999n } },
      createRow(slug, "again-2", { name: "Other" }),
      createRow(slug, "again-3", { stockQuantity: 9n }),
      createRow(slug, "again-4"),
    ];
    const report = await importRows(shop, next);
    expect(report).toMatchObject({ ...counts, rowCount: 4n, updatedCount: 3n, unchangedCount: 1n });
    const changed = await bySku("again-1");
    expect(changed).toMatchObject({
      etag: "2",
      price: { minorUnits: 999n },
      stockQuantity: 5n,
      id: first?.id,
    });
    expect(changed.updateTime).not.toEqual(first?.updateTime);
    expect(await bySku("again-2")).toMatchObject({ etag: "2", name: "Other", stockQuantity: 5n });
    const recounted = await bySku("again-3");
    expect(recounted).toMatchObject({ etag: "1", stockQuantity: 9n, updateTime: third?.updateTime });
    expect(await bySku("again-4")).toMatchObject({ etag: "1", stockQuantity: 5n });
    expect(await importRows(shop, next)).toMatchObject({ ...counts, unchangedCount: 4n });
  });

  test("a row undeletes its product even when no field differs", async () => {
    const rows = [createRow(slug, "gone")];
    await importRows(shop, rows);
    const { id } = await bySku("gone");
    await shop.catalog.deleteProduct({ id });
    expect(await importRows(shop, rows)).toMatchObject({ ...counts, updatedCount: 1n });
    expect(await bySku("gone")).toMatchObject({ id, etag: "3" });
    expect((await bySku("gone")).deleteTime).toBeUndefined();
  });

  test("imported products are visible immediately although responses are cached", async () => {
    const read = () => shop.catalog.getProduct({ key: { case: "sku", value: "cached" } });
    expect(await failureOf(read())).toMatchObject({ code: "NotFound" });
    await importRows(shop, [createRow(slug, "cached")]);
    expect((await read()).product).toMatchObject({ name: "Product cached" });
    await importRows(shop, [createRow(slug, "cached", { name: "New name" })]);
    expect((await read()).product).toMatchObject({ name: "New name" });
    await importRows(shop, [createRow(slug, "cached", { name: "New name", stockQuantity: 3n })]);
    expect((await read()).product).toMatchObject({ stockQuantity: 3n });
  });

  test("messages may carry a thousand rows, a few rows, or several megabytes", async () => {
    const rows = createRows(slug, "many-", 1_300);
    expect(
      await shop.catalog.importProducts(toMessages(createHeader(), rows, { size: 1_000 })),
    ).toMatchObject({
      createdCount: 1_300n,
    });
    expect(await shop.catalog.importProducts(toMessages(createHeader(), rows, { size: 7 }))).toMatchObject({
      unchangedCount: 1_300n,
    });
    const longRows = createRows(slug, "many-", 250, { description: "ä".repeat(10_000) });
    expect(
      await shop.catalog.importProducts(toMessages(createHeader(), longRows, { size: 100 })),
    ).toMatchObject({
      updatedCount: 250n,
    });
  });
});

describe("invalid rows", () => {
  test("invalid rows are reported by their numbers, and the others are imported", async () => {
    const price = { currencyCode: "EUR", minorUnits: 1n };
    const invalidRows: RowInit[] = [
      createRow(slug, ""),
      createRow(slug, "b d"),
      createRow(slug, "x".repeat(100)),
      createRow(slug, "n\0l"),
      createRow(slug, "bad-5", { name: "" }),
      createRow("no-such-category", "bad-7"),
      createRow(slug, "bad-8", { price: undefined }),
      createRow(slug, "bad-9", { price: { ...price, currencyCode: "eur" } }),
      createRow(slug, "bad-10", { price: { ...price, minorUnits: -1n } }),
      createRow(slug, "bad-11", { stockQuantity: -1n }),
      createRow(slug, "bad-12", { imageUri: "ftp://images.example/1.jpg" }),
      createRow(slug, "bad-13", { attributes: { "": "x" } }),
      createRow(slug, "bad-14", { attributes: { a: "\0" } }),
    ];
    const rows = invalidRows.flatMap((row, index) => [row, createRow(slug, `good-${index + 1}`)]);
    const report = await importRows(shop, rows);
    expect(report).toMatchObject({ rowCount: 26n, createdCount: 13n, failedCount: 13n });
    const errors = report.errors.map(({ rowNumber, sku, field }) => [Number(rowNumber), sku, field]);
    expect(errors).toEqual([
      [1, "", "sku"],
      [3, "b d", "sku"],
      [5, "x".repeat(64), "sku"],
      [7, "n\uFFFDl", "sku"],
      [9, "bad-5", "name"],
      [11, "bad-7", "category_slug"],
      [13, "bad-8", "price"],
      [15, "bad-9", "price.currency_code"],
      [17, "bad-10", "price.minor_units"],
      [19, "bad-11", "stock_quantity"],
      [21, "bad-12", "image_uri"],
      [23, "bad-13", 'attributes[""] (key)'],
      [25, "bad-14", 'attributes["a"]'],
    ]);
    for (const { description } of report.errors) expect(description).not.toBe("");
    expect(await bySku("good-13")).toMatchObject({ name: "Product good-13" });
  });

  test("a row names its category by slug, by id or by both, and both must agree", async () => {
    const idOf = async (categorySlug: string) => {
      const key = { case: "slug", value: categorySlug } as const;
      return (await shop.catalog.getCategory({ key })).category?.id ?? "";
    };
    const otherSlug = await createCategorySlug(shop);
    const [categoryId, otherId] = [await idOf(slug), await idOf(otherSlug)];
    const unknownId = "01941f29-7c00-7003-8000-00000000ffff";
    const report = await importRows(shop, [
      createRow("", "by-id", { categoryId }),
      createRow("", "by-upper-case-id", { categoryId: categoryId.toUpperCase() }),
      createRow(slug, "by-both", { categoryId }),
      createRow(slug, "by-two", { categoryId: otherId }),
      createRow("", "by-none"),
      createRow("", "by-unknown-id", { categoryId: unknownId }),
      createRow("no-such-category", "by-unknown-slug", { categoryId }),
      createRow("", "by-text", { categoryId: "chairs" }),
    ]);
    expect(report).toMatchObject({ createdCount: 3n, failedCount: 5n });
    expect(report.errors.map(({ sku, field, description }) => [sku, field, description])).toEqual([
      ["by-two", "category_id", "does not name the same category as category_slug"],
      ["by-none", "category_slug", "is required, unless category_id is given"],
      ["by-unknown-id", "category_id", "does not name a category"],
      ["by-unknown-slug", "category_slug", "does not name a category"],
      ["by-text", "category_id", "must be a valid UUID"],
    ]);
    for (const sku of ["by-id", "by-upper-case-id", "by-both"]) {
      expect(await bySku(sku)).toMatchObject({ categoryId });
    }
  });

  test("of rows with the same sku one is imported and the others are rejected, within a batch and across batches", async () => {
    const rows = [
      createRow(slug, "dup-1"),
      createRow(slug, "dup-2"),
      createRow(slug, "dup-1", { name: "Second" }),
    ];
    const far = [...rows, ...createRows(slug, "filler-", 2_000), createRow(slug, "dup-2", { name: "Far" })];
    const report = await importRows(shop, [
      ...far,
      createRow(slug, "dup-3", { name: "" }),
      createRow(slug, "dup-3"),
    ]);
    expect(report).toMatchObject({ rowCount: 2_006n, createdCount: 2_002n, failedCount: 4n });
    // Batches are written concurrently: either row of dup-2 may be the one that is imported.
    const isFarImported = report.errors.some(({ rowNumber }) => rowNumber === 2n);
    const errors = [
      [3n, "dup-1", "sku"],
      [isFarImported ? 2n : 2_004n, "dup-2", "sku"],
      [2_005n, "dup-3", "name"],
      [2_006n, "dup-3", "sku"],
    ];
    expect(report.errors.map(({ rowNumber, sku, field }) => [rowNumber, sku, field])).toEqual(
      errors.sort(([a], [b]) => Number(a) - Number(b)),
    );
    expect(await bySku("dup-1")).toMatchObject({ name: "Product dup-1", etag: "1" });
    const name = isFarImported ? "Far" : "Product dup-2";
    expect(await bySku("dup-2")).toMatchObject({ name, etag: "1" });
  });

  test("all invalid rows are counted, and the first 1,000 are described", async () => {
    const rows = createRows("no-such-category", "none-", 2_500);
    const report = await importRows(shop, [createRow(slug, "one"), ...rows]);
    expect(report).toMatchObject({ rowCount: 2_501n, createdCount: 1n, failedCount: 2_500n });
    expect(report.errors.map(({ rowNumber }) => Number(rowNumber))).toEqual(
      Array.from({ length: 1_000 }, (_, index) => index + 2),
    );
  });
});

describe("a stream", () => {
  test("a stream without messages is rejected, and one without rows imports nothing", async () => {
    expect(await failureOf(shop.catalog.importProducts((async function* () {})()))).toMatchObject({
      code: "InvalidArgument",
      fields: ["request_id"],
    });
    expect(await importRows(shop, [])).toMatchObject({ ...counts, rowCount: 0n, replayed: false });
  });

  test.each([
    ["request_id", { requestId: "5a1e7f6e-0000-4000-8000-000000000000" }],
    ["mode", { mode: ImportMode.FULL }],
  ])("a message with another %s than the first one is rejected", async (field, other) => {
    const header = createHeader();
    async function* messages() {
      yield { ...header, offset: 0n, rows: [createRow(slug, "first")] };
      yield { ...header, ...other, offset: 1n, rows: [createRow(slug, "second")] };
    }
    const failure = await failureOf(shop.catalog.importProducts(messages()));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [field] });
  });

  test("messages that violate the contract are rejected", async () => {
    const header = { ...createHeader(), requestId: "no uuid" };
    const failure = await failureOf(importRows(shop, createRows(slug, "x", 1), header));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["request_id"] });
    const many = toMessages(createHeader(), createRows(slug, "x", 1_001), { size: 1_001 });
    expect(await failureOf(shop.catalog.importProducts(many))).toMatchObject({ fields: ["rows"] });
  });
});
