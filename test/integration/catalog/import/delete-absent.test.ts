import { afterAll, beforeEach, expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  countWrittenRows,
  createCategorySlug,
  createHeader,
  createRow,
  createRows,
  importRows,
  signal,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { breaches } from "../../../support/invariants.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let slug: string;
const shops: TestShop[] = [];
// Each of its own: a full import is about all products.
beforeEach(async () => {
  shop = await startShop();
  shops.push(shop);
  slug = await createCategorySlug(shop);
});
afterAll(async () => {
  for (const shop of shops) await shop.close();
});

const full = () => createHeader(ImportMode.FULL);

/** The skus of products by whether they are sold, with their versions. */
async function shelf() {
  const rows = await shop.database.query<{ sku: string; version: number; active: boolean }>(
    "select sku, version, active from product order by sku",
  );
  const of = (active: boolean) =>
    rows.filter((one) => one.active === active).map(({ sku, version }) => `${sku} v${version}`);
  return { sold: of(true), deleted: of(false) };
}

test("deletes what is not among its rows, and spares what a faulty row names", async () => {
  const skus = ["absent", "changed", "deleted", "faulty", "same", "unlisted"];
  await importRows(
    shop,
    skus.map((sku) => createRow(slug, sku, { stockQuantity: 3n })),
  );
  const id = async (sku: string) =>
    (await shop.catalog.getProduct({ key: { case: "sku", value: sku } })).product?.id ?? "";
  await shop.catalog.deleteProduct({ id: await id("deleted") });
  const [absent] = [await id("absent")];
  const rows = [
    createRow(slug, "changed", { name: "Changed" }),
    createRow(slug, "faulty", { price: { currencyCode: "EUR", minorUnits: -1n } }),
    createRow("no-such-category", "unlisted"),
    createRow(slug, "same"),
    createRow(slug, "new"),
  ];
  const of = full();
  const report = await importRows(shop, rows, of);
  const counts = {
    createdCount: 1n,
    updatedCount: 1n,
    unchangedCount: 1n,
    deletedCount: 1n,
    failedCount: 2n,
  };
  expect(report).toMatchObject({ rowCount: 5n, ...counts });
  expect(await shelf()).toEqual({
    sold: ["changed v2", "faulty v1", "new v1", "same v1", "unlisted v1"],
    deleted: ["absent v2", "deleted v2"],
  });
  expect(await failureOf(shop.catalog.getProduct({ key: { case: "id", value: absent } }))).toMatchObject({
    code: "NotFound",
  });
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  expect(category?.productCount).toBe(5n);
  const { products } = await shop.catalog.listProducts({});
  expect(products).toHaveLength(5);
  expect(await importRows(shop, rows, of)).toEqual({ ...report, replayed: true });
  expect(await breaches(shop.database.url)).toEqual([]);
});

test("deletes thousands, part by part", async () => {
  await importRows(shop, createRows(slug, "old-", 3_500));
  const report = await importRows(shop, createRows(slug, "old-", 200), full());
  expect(report).toMatchObject({ unchangedCount: 200n, deletedCount: 3_300n });
  expect((await shelf()).sold).toHaveLength(200);
  expect(await breaches(shop.database.url)).toEqual([]);
});

test.each([
  ["no rows", () => []],
  ["faulty rows only", () => createRows("no-such-category", "bad-", 3)],
])("of %s is refused, and nothing is deleted", async (_, rows) => {
  await importRows(shop, createRows(slug, "kept-", 3));
  expect(await failureOf(importRows(shop, rows(), full()))).toMatchObject({
    code: "FailedPrecondition",
    reason: "IMPORT_EMPTY",
    preconditions: ["ROWS"],
  });
  expect(await shelf()).toEqual({ sold: ["kept-1 v1", "kept-2 v1", "kept-3 v1"], deleted: [] });
});

test("deletes nothing while its stream has not ended in order", async () => {
  await importRows(shop, createRows(slug, "kept-", 3));
  const of = full();
  const stop = new AbortController();
  async function* messages() {
    yield* toMessages(of, createRows(slug, "fresh-", 1_000));
    await expect.poll(() => countWrittenRows(shop, of)).toBe(1_000);
    stop.abort();
  }
  await failureOf(shop.catalog.importProducts(messages(), { signal: stop.signal }));
  expect(await shelf()).toMatchObject({ deleted: [] });
  const beyond = shop.catalog.importProducts(toMessages(of, [], { offset: 1_001 }));
  expect(await failureOf(beyond)).toMatchObject({ reason: "IMPORT_OFFSET" });
  expect(await shelf()).toMatchObject({ deleted: [] });
  const report = await shop.catalog.importProducts(toMessages(of, [], { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_000n, createdCount: 1_000n, deletedCount: 3n });
  expect((await shelf()).deleted).toEqual(["kept-1 v2", "kept-2 v2", "kept-3 v2"]);
});

test("broken off while it deletes, it goes on, and two of them delete once", async () => {
  await importRows(shop, createRows(slug, "old-", 3_000));
  const of = full();
  const rows = createRows(slug, "new-", 1);
  await shop.database.query("begin");
  // Somebody holds a product of the second part.
  await shop.database.query("select from product where sku in (select max(sku) from product) for update");
  const first = failureOf(shop.catalog.importProducts(toMessages(of, rows), { timeoutMs: 1_500 }));
  expect(await first).toMatchObject({ code: "DeadlineExceeded" });
  await shop.database.query("rollback");
  const report = await importRows(shop, rows, of);
  expect(report).toMatchObject({ rowCount: 1n, createdCount: 1n, deletedCount: 3_000n });
  expect((await shelf()).sold).toEqual(["new-1 v1"]);
  expect((await shelf()).deleted.filter((sku) => !sku.endsWith("v2"))).toEqual([]);
});

test("spares what was created after it began", async () => {
  await importRows(shop, [createRow(slug, "old")]);
  const of = full();
  const made = signal();
  async function* messages() {
    yield* toMessages(of, [createRow(slug, "named")]);
    await made.given;
  }
  const importing = shop.catalog.importProducts(messages());
  await expect
    .poll(() => shop.database.query("select from product_import where mode = 'FULL'"))
    .toHaveLength(1);
  const { category } = await shop.catalog.getCategory({ key: { case: "slug", value: slug } });
  await shop.catalog.createProduct({
    product: {
      ...{ sku: "young", name: "Young", categoryId: category?.id ?? "" },
      price: { currencyCode: "EUR", minorUnits: 1n },
    },
  });
  made.give();
  expect(await importing).toMatchObject({ deletedCount: 1n });
  expect(await shelf()).toEqual({ sold: ["named v1", "young v1"], deleted: ["old v2"] });
});
