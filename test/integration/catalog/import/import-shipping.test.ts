import { afterAll, beforeAll, expect, test } from "vitest";
import { createCategorySlug, createRow, importRows } from "../../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterAll(() => shop.close());

const BOOK = { taxClass: "reduced", weightGrams: 450n };
const counts = { createdCount: 0n, updatedCount: 0n, unchangedCount: 0n, failedCount: 0n };

const read = async (sku: string) => {
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: sku } });
  if (product === undefined) throw new Error("no product");
  return product;
};

test("rows create products with their tax class and weight, or with the standard class and without a weight", async () => {
  await importRows(shop, [
    createRow(slug, "new-book", BOOK),
    createRow(slug, "new-class", { taxClass: "reduced" }),
    createRow(slug, "new-bare"),
  ]);
  expect(await read("new-book")).toMatchObject(BOOK);
  expect(await read("new-class")).toMatchObject({ taxClass: "reduced", weightGrams: 0n });
  expect(await read("new-bare")).toMatchObject({ taxClass: "", weightGrams: 0n });
});

test("rows whose tax class or weight differs update their products, and equal ones leave them unchanged", async () => {
  const skus = ["same", "class", "weight", "standard", "unknown"];
  await importRows(
    shop,
    skus.map((sku) => createRow(slug, sku, BOOK)),
  );
  const rows = [
    createRow(slug, "same", BOOK),
    createRow(slug, "class", { ...BOOK, taxClass: "zero" }),
    createRow(slug, "weight", { ...BOOK, weightGrams: 451n }),
    createRow(slug, "standard", { ...BOOK, taxClass: "" }),
    createRow(slug, "unknown", { ...BOOK, weightGrams: 0n }),
  ];
  // Fills the cache.
  await Promise.all(skus.map(read));
  expect(await importRows(shop, rows)).toMatchObject({ ...counts, updatedCount: 4n, unchangedCount: 1n });
  expect(await read("same")).toMatchObject({ ...BOOK, etag: "1" });
  expect(await read("class")).toMatchObject({ ...BOOK, taxClass: "zero", etag: "2" });
  expect(await read("weight")).toMatchObject({ ...BOOK, weightGrams: 451n, etag: "2" });
  expect(await read("standard")).toMatchObject({ ...BOOK, taxClass: "", etag: "2" });
  expect(await read("unknown")).toMatchObject({ ...BOOK, weightGrams: 0n, etag: "2" });
  expect(await importRows(shop, rows)).toMatchObject({ ...counts, unchangedCount: 5n });
});

test("rows without a tax class and a weight keep those of their products, whatever else changes", async () => {
  const skus = ["kept", "renamed", "repriced", "weighed"];
  await importRows(
    shop,
    skus.map((sku) => createRow(slug, sku, BOOK)),
  );
  const rows = [
    createRow(slug, "kept"),
    createRow(slug, "renamed", { name: "Renamed" }),
    createRow(slug, "repriced", { price: { currencyCode: "EUR", minorUnits: 7n } }),
    createRow(slug, "weighed", { weightGrams: 9n }),
  ];
  expect(await importRows(shop, rows)).toMatchObject({ ...counts, updatedCount: 3n, unchangedCount: 1n });
  expect(await read("kept")).toMatchObject({ ...BOOK, etag: "1" });
  expect(await read("renamed")).toMatchObject({ ...BOOK, name: "Renamed", etag: "2" });
  expect(await read("repriced")).toMatchObject({ ...BOOK, price: { minorUnits: 7n }, etag: "2" });
  expect(await read("weighed")).toMatchObject({ taxClass: "reduced", weightGrams: 9n, etag: "2" });
});

test("rows with an invalid tax class or weight are rejected", async () => {
  const report = await importRows(shop, [
    createRow(slug, "wrong-1", { taxClass: "Reduced" }),
    createRow(slug, "wrong-2", { taxClass: "x".repeat(33) }),
    createRow(slug, "wrong-3", { weightGrams: -1n }),
    createRow(slug, "wrong-4", { weightGrams: 1_000_000_001n }),
    createRow(slug, "right", { taxClass: "x".repeat(32), weightGrams: 1_000_000_000n }),
  ]);
  expect(report).toMatchObject({ ...counts, createdCount: 1n, failedCount: 4n });
  expect(report.errors.map(({ sku, field }) => [sku, field])).toEqual([
    ["wrong-1", "tax_class"],
    ["wrong-2", "tax_class"],
    ["wrong-3", "weight_grams"],
    ["wrong-4", "weight_grams"],
  ]);
});
