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
import { startShop, type TestShop } from "../../../support/shop.ts";
import { countLockWaits, flushStatistics, lockProduct } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

/** Number of rows that the shop writes in one transaction. */
const BATCH_ROWS = 1_000;

let shop: TestShop;
let slug: string;
// A shop for each test: a full import affects all products, and statistics a whole table.
beforeEach(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
  await shop.close();
});

const stored = () =>
  shop.database.query(
    "select count(*)::int as count, count(*) filter (where active)::int as sold, count(distinct sku)::int as skus from product",
  );

test("a batch that waits for a lock does not delay the next one, and an import that is interrupted then resumes at the gap", async () => {
  const rows = createRows(slug, "gap-", 2 * BATCH_ROWS, { stockQuantity: 1n });
  await importRows(shop, [createRow(slug, "gap-1"), createRow(slug, "absent")]);
  const release = await lockProduct(shop.database, "gap-1");
  const header = createHeader(ImportMode.FULL);
  const stop = new AbortController();
  const interrupted = failureOf(
    shop.catalog.importProducts(toMessages(header, rows), { signal: stop.signal }),
  );
  await expect.poll(() => countWrittenRows(shop, header)).toBe(BATCH_ROWS);
  stop.abort();
  await interrupted;
  await expect.poll(() => countLockWaits(shop.database)).toBe(0);
  await release();
  expect(await stored()).toEqual([{ count: BATCH_ROWS + 2, sold: BATCH_ROWS + 2, skus: BATCH_ROWS + 2 }]);

  // The number of written rows is not the offset to resume at.
  const afterGap = shop.catalog.importProducts(toMessages(header, [], { offset: 2 * BATCH_ROWS }));
  expect(await failureOf(afterGap)).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "0" },
  });
  const incomplete = shop.catalog.importProducts(toMessages(header, rows.slice(0, BATCH_ROWS - 1)));
  expect(await failureOf(incomplete)).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: String(BATCH_ROWS - 1) },
  });
  expect(await stored()).toMatchObject([{ sold: 2 * BATCH_ROWS }]);

  const report = await importRows(shop, rows, header);
  const counts = { createdCount: 1_999n, updatedCount: 1n, deletedCount: 1n, failedCount: 0n };
  expect(report).toMatchObject({ rowCount: 2_000n, ...counts, replayed: false });
  expect(await stored()).toEqual([
    { count: 2 * BATCH_ROWS + 1, sold: 2 * BATCH_ROWS, skus: 2 * BATCH_ROWS + 1 },
  ]);
});

test("of two rows with one sku in concurrent batches one is imported and the other is rejected", async () => {
  await importRows(shop, [createRow(slug, "locked")]);
  const release = await lockProduct(shop.database, "locked");
  const header = createHeader();
  const rows = createRows(slug, "first-", BATCH_ROWS)
    .with(0, createRow(slug, "locked"))
    .with(1, createRow(slug, "both"));
  const more = [createRow(slug, "both", { name: "Second" }), ...createRows(slug, "second-", BATCH_ROWS - 1)];
  async function* messages() {
    yield* toMessages(header, rows);
    // The first batch has recorded its skus and waits for the product.
    await expect.poll(() => countLockWaits(shop.database, "from inventory")).toBe(1);
    yield* toMessages(header, more, { offset: BATCH_ROWS });
  }
  const importing = shop.catalog.importProducts(messages());
  // The second batch waits for the sku that the first one has recorded.
  await expect.poll(() => countLockWaits(shop.database, "insert into product_import_sku")).toBe(1);
  await release();
  const report = await importing;
  expect(report).toMatchObject({ rowCount: 2_000n, createdCount: 1_998n, failedCount: 1n });
  expect(report.errors).toMatchObject([{ rowNumber: 1_001n, sku: "both", field: "sku" }]);
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "both" } });
  expect(product).toMatchObject({ name: "Product both", etag: "1" });
});

test.each([
  ["purges its skus", ImportMode.INCREMENTAL, 0n],
  ["deletes absent products", ImportMode.FULL, 1_000n],
])(
  "a long import %s without a scan of its rows for each product, although the statistics predate it",
  async (_, mode, deletedCount) => {
    await importRows(shop, createRows(slug, "absent-", 1_000));
    const header = createHeader(mode, { maxDeletes: deletedCount });
    const insertSkus = (requestId: string, count: number) =>
      shop.database.query(
        "insert into product_import_sku (request_id, sku) select $1, 'seen-' || n from generate_series(1, $2::int) as n",
        [requestId, count],
      );
    // As autovacuum leaves the statistics during another import: all rows belong to that one.
    await insertSkus(randomUUID(), 20_000);
    await shop.database.query("analyze product_import_sku");
    // As many rows of its own.
    await insertSkus(header.requestId, 100_000);
    const report = await importRows(shop, [createRow(slug, "last")], header);
    expect(report).toMatchObject({ createdCount: 1n, deletedCount });
    const remaining = shop.database.query("select from product_import_sku where request_id = $1", [
      header.requestId,
    ]);
    expect(await remaining).toEqual([]);
    await flushStatistics(shop.database);
    const [scans] = await shop.database.query<{ rows: number }>(
      "select seq_tup_read::float8 as rows from pg_stat_user_tables where relname = 'product_import_sku'",
    );
    // A join of 1,000 products with 100,000 rows would read 100 million.
    expect(scans?.rows).toBeLessThan(1_000_000);
  },
);
