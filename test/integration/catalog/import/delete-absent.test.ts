import { expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  countWrittenRows,
  createHeader,
  createRow,
  createRows,
  importRows,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { startShopForEachTest } from "../../../support/import/shop-for-each-test.ts";
import type { TestShop } from "../../../support/shop.ts";
import { countLockWaits, lockProduct } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let slug: string;
startShopForEachTest((started, categorySlug) => {
  shop = started;
  slug = categorySlug;
});

/** Creates the header of a full import that may delete this number of products. */
const createFullHeader = (maxDeletes: bigint) => createHeader(ImportMode.FULL, { maxDeletes });

/** Returns the skus of the active and of the deleted products, with their versions. */
async function listSkus() {
  const rows = await shop.database.query<{ sku: string; version: number; active: boolean }>(
    "select sku, version, active from product order by sku",
  );
  const skusOf = (active: boolean) =>
    rows.filter((one) => one.active === active).map(({ sku, version }) => `${sku} v${version}`);
  return { active: skusOf(true), deleted: skusOf(false) };
}

test("a full import deletes the products without a row, but none that an invalid row names", async () => {
  const skus = ["absent", "changed", "deleted", "invalid", "same", "uncategorized"];
  await importRows(
    shop,
    skus.map((sku) => createRow(slug, sku, { stockQuantity: 3n })),
  );
  const idOf = async (sku: string) =>
    (await shop.catalog.getProduct({ key: { case: "sku", value: sku } })).product?.id ?? "";
  await shop.catalog.deleteProduct({ id: await idOf("deleted") });
  const absentId = await idOf("absent");
  const rows = [
    createRow(slug, "changed", { name: "Changed" }),
    createRow(slug, "invalid", { price: { currencyCode: "EUR", minorUnits: -1n } }),
    createRow("no-such-category", "uncategorized"),
    createRow(slug, "same"),
    createRow(slug, "new"),
  ];
  const header = createFullHeader(1n);
  const report = await importRows(shop, rows, header);
  const counts = {
    createdCount: 1n,
    updatedCount: 1n,
    unchangedCount: 1n,
    deletedCount: 1n,
    failedCount: 2n,
  };
  expect(report).toMatchObject({ rowCount: 5n, ...counts });
  expect(await listSkus()).toEqual({
    active: ["changed v2", "invalid v1", "new v1", "same v1", "uncategorized v1"],
    deleted: ["absent v2", "deleted v2"],
  });
  expect(await failureOf(shop.catalog.getProduct({ key: { case: "id", value: absentId } }))).toMatchObject({
    code: "NotFound",
  });
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  expect(category?.productCount).toBe(5n);
  const { products } = await shop.catalog.listProducts({});
  expect(products).toHaveLength(5);
  expect(await importRows(shop, rows, header)).toEqual({ ...report, replayed: true });
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a full import deletes thousands of products in several pages", async () => {
  await importRows(shop, createRows(slug, "old-", 3_500));
  const report = await importRows(shop, createRows(slug, "old-", 200), createFullHeader(3_300n));
  expect(report).toMatchObject({ unchangedCount: 200n, deletedCount: 3_300n });
  expect((await listSkus()).active).toHaveLength(200);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test.each([
  ["without rows", () => []],
  ["with invalid rows only", () => createRows("no-such-category", "bad-", 3)],
])("a full import %s is rejected and deletes nothing", async (_, rows) => {
  await importRows(shop, createRows(slug, "kept-", 3));
  expect(await failureOf(importRows(shop, rows(), createFullHeader(3n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "IMPORT_EMPTY",
    preconditions: ["ROWS"],
  });
  expect(await listSkus()).toEqual({ active: ["kept-1 v1", "kept-2 v1", "kept-3 v1"], deleted: [] });
});

test("a full import deletes nothing before its stream has ended with all rows", async () => {
  await importRows(shop, createRows(slug, "kept-", 3));
  const header = createFullHeader(3n);
  const stop = new AbortController();
  async function* messages() {
    yield* toMessages(header, createRows(slug, "fresh-", 1_000));
    await expect.poll(() => countWrittenRows(shop, header)).toBe(1_000);
    stop.abort();
  }
  await failureOf(shop.catalog.importProducts(messages(), { signal: stop.signal }));
  expect(await listSkus()).toMatchObject({ deleted: [] });
  const afterGap = shop.catalog.importProducts(toMessages(header, [], { offset: 1_001 }));
  expect(await failureOf(afterGap)).toMatchObject({ reason: "IMPORT_OFFSET" });
  expect(await listSkus()).toMatchObject({ deleted: [] });
  const report = await shop.catalog.importProducts(toMessages(header, [], { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_000n, createdCount: 1_000n, deletedCount: 3n });
  expect((await listSkus()).deleted).toEqual(["kept-1 v2", "kept-2 v2", "kept-3 v2"]);
});

test("a full import that is interrupted while it deletes is resumed, and deletes each product once", async () => {
  await importRows(shop, createRows(slug, "old-", 3_000));
  const header = createFullHeader(3_000n);
  const rows = createRows(slug, "new-", 1);
  const [last] = await shop.database.query<{ sku: string }>(
    "select sku from product order by id desc limit 1",
  );
  const release = await lockProduct(shop.database, last?.sku ?? "");
  const stop = new AbortController();
  const interrupted = failureOf(
    shop.catalog.importProducts(toMessages(header, rows), { signal: stop.signal }),
  );
  await expect.poll(() => countLockWaits(shop.database)).toBe(1);
  stop.abort();
  expect(await interrupted).toMatchObject({ code: "Canceled" });
  await expect.poll(() => countLockWaits(shop.database)).toBe(0);
  await release();
  const report = await importRows(shop, rows, header);
  expect(report).toMatchObject({ rowCount: 1n, createdCount: 1n, deletedCount: 3_000n });
  expect((await listSkus()).active).toEqual(["new-1 v1"]);
  expect((await listSkus()).deleted.filter((sku) => !sku.endsWith("v2"))).toEqual([]);
});

test("a full import does not delete a product that was created after it began", async () => {
  await importRows(shop, [createRow(slug, "old")]);
  const header = createFullHeader(1n);
  const created = Promise.withResolvers<void>();
  async function* messages() {
    yield* toMessages(header, [createRow(slug, "named")]);
    await created.promise;
  }
  const importing = shop.catalog.importProducts(messages());
  await expect
    .poll(() => shop.database.query("select from product_import where mode = 'FULL'"))
    .toHaveLength(1);
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  await shop.catalog.createProduct({
    product: {
      sku: "new",
      name: "New",
      categoryId: category?.id ?? "",
      price: { currencyCode: "EUR", minorUnits: 1n },
    },
  });
  created.resolve();
  expect(await importing).toMatchObject({ deletedCount: 1n });
  expect(await listSkus()).toEqual({ active: ["named v1", "new v1"], deleted: ["old v2"] });
});
