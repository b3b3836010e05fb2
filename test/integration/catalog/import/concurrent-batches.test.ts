import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  countWrittenRows,
  createCategorySlug,
  createHeader,
  createRow,
  createRows,
  importRows,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { breaches } from "../../../support/invariants.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

/** Rows of a batch. */
const BATCH = 1_000;

let shop: TestShop;
let slug: string;
// Each of its own: a full import is about all products, and statistics are about a whole table.
beforeEach(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => {
  expect(await breaches(shop.database.url)).toEqual([]);
  await shop.close();
});

/** Holds a product, so that the batch with its row has to wait. @returns what lets it go */
async function hold(sku: string): Promise<() => Promise<unknown>> {
  await shop.database.query("begin");
  await shop.database.query("select from product where sku = $1 for update", [sku]);
  return () => shop.database.query("rollback");
}

const waiting = () => shop.database.query("select from pg_locks where not granted");

const stored = () =>
  shop.database.query(
    "select count(*)::int as count, count(*) filter (where active)::int as sold, count(distinct sku)::int as skus from product",
  );

test("a batch that waits does not hold up the next; broken off then, the import goes on at the hole", async () => {
  const rows = createRows(slug, "hole-", 2 * BATCH, { stockQuantity: 1n });
  await importRows(shop, [createRow(slug, "hole-1"), createRow(slug, "absent")]);
  const release = await hold("hole-1");
  const of = createHeader(ImportMode.FULL);
  const stop = new AbortController();
  const broken = failureOf(shop.catalog.importProducts(toMessages(of, rows), { signal: stop.signal }));
  await expect.poll(() => countWrittenRows(shop, of)).toBe(BATCH);
  stop.abort();
  await broken;
  await expect.poll(waiting).toEqual([]);
  await release();
  expect(await stored()).toEqual([{ count: BATCH + 2, sold: BATCH + 2, skus: BATCH + 2 }]);

  // Whoever takes the rows that were written for all of those before them is told where the hole is.
  const beyond = shop.catalog.importProducts(toMessages(of, [], { offset: 2 * BATCH }));
  expect(await failureOf(beyond)).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "0" },
  });
  const short = shop.catalog.importProducts(toMessages(of, rows.slice(0, BATCH - 1)));
  expect(await failureOf(short)).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: String(BATCH - 1) },
  });
  expect(await stored()).toMatchObject([{ sold: 2 * BATCH }]);

  const report = await importRows(shop, rows, of);
  const counts = { createdCount: 1_999n, updatedCount: 1n, deletedCount: 1n, failedCount: 0n };
  expect(report).toMatchObject({ rowCount: 2_000n, ...counts, replayed: false });
  expect(await stored()).toEqual([{ count: 2 * BATCH + 1, sold: 2 * BATCH, skus: 2 * BATCH + 1 }]);
});

test("of a sku in two batches at once one row is taken, and the other is a fault", async () => {
  await importRows(shop, [createRow(slug, "held")]);
  const release = await hold("held");
  const rows = createRows(slug, "first-", BATCH)
    .with(0, createRow(slug, "held"))
    .with(1, createRow(slug, "both"));
  const more = [createRow(slug, "both", { name: "Second" }), ...createRows(slug, "second-", BATCH - 1)];
  const importing = importRows(shop, [...rows, ...more]);
  // The first batch waits for the product, and the second to learn whether the first one takes the sku.
  await expect.poll(waiting).toHaveLength(2);
  await release();
  const report = await importing;
  expect(report).toMatchObject({ rowCount: 2_000n, createdCount: 1_998n, failedCount: 1n });
  expect(report.errors).toMatchObject([{ rowNumber: 1_001n, sku: "both", field: "sku" }]);
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "both" } });
  expect(product).toMatchObject({ name: "Product both", etag: "1" });
});

test.each([
  ["forgets its skus", ImportMode.INCREMENTAL, 0n],
  ["deletes what is absent", ImportMode.FULL, 1_000n],
])("a long import %s in no time, though statistics know nothing of it", async (_, mode, deletedCount) => {
  await importRows(shop, createRows(slug, "absent-", 1_000));
  const of = createHeader(mode);
  const note = (requestId: string, count: number) =>
    shop.database.query(
      "insert into product_import_sku (request_id, sku) select $1, 'had-' || n from generate_series(1, $2::int) as n",
      [requestId, count],
    );
  // As autovacuum leaves them when it comes by during another import: all rows are of that one.
  await note(randomUUID(), 20_000);
  await shop.database.query("analyze product_import_sku");
  // As after so many rows of its own.
  await note(of.requestId, 100_000);
  const report = await importRows(shop, [createRow(slug, "last")], of);
  expect(report).toMatchObject({ createdCount: 1n, deletedCount });
  const left = shop.database.query("select from product_import_sku where request_id = $1", [of.requestId]);
  expect(await left).toEqual([]);
});
