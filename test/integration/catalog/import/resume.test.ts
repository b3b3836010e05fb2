import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ImportMode } from "../../../../gen/cartwright/catalog/v1/import_pb.ts";
import { createClient } from "../../../../src/client/client.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  countWrittenRows,
  createCategorySlug,
  createHeader,
  createRows,
  type ImportHeader,
  importRows,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { countLockWaits, lockProduct } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";
import { startTcpProxy } from "../../../support/stores/tcp-proxy.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Counts the products whose sku has a prefix, those of version 1 among them, and their units. */
const countProducts = (prefix: string) =>
  shop.database.query(
    `select count(*)::int as count, count(*) filter (where product.version = 1)::int as unchanged, coalesce(sum(on_hand), 0)::int as stock
     from product join inventory on product_id = id where sku like $1 || '%'`,
    [prefix],
  );

/** Returns the skus that the shop keeps of an import. */
const seenSkus = ({ requestId }: ImportHeader) =>
  shop.database.query("select from product_import_sku where request_id = $1", [requestId]);

test("an import over a connection that is cut in the middle loses no row and writes none twice", async () => {
  const rows = createRows(slug, "cut-", 5_000, { stockQuantity: 2n });
  rows[4_321] = { ...rows[4_321], name: "" };
  const header = createHeader();
  const link = await startTcpProxy(Number(new URL(shop.url).port));
  const { catalog } = createClient({
    baseUrl: `http://127.0.0.1:${link.port}`,
    transport: createGrpcTransport,
  });
  const cut = Promise.withResolvers<void>();
  async function* messages() {
    yield* toMessages(header, rows.slice(0, 2_600));
    await cut.promise;
  }
  const interrupted = failureOf(catalog.importProducts(messages()));
  await expect.poll(() => countWrittenRows(shop, header)).toBe(2_000);
  await link.close();
  cut.resolve();
  expect(await interrupted).toMatchObject({ code: "Unavailable" });
  // The incomplete batch is not written.
  expect(await countWrittenRows(shop, header)).toBe(2_000);

  const afterGap = shop.catalog.importProducts(toMessages(header, rows.slice(2_600), { offset: 2_600 }));
  expect(await failureOf(afterGap)).toMatchObject({
    code: "FailedPrecondition",
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "2000" },
  });
  const report = await shop.catalog.importProducts(toMessages(header, rows.slice(1_234), { offset: 1_234 }));
  const counts = {
    rowCount: 5_000n,
    createdCount: 4_999n,
    updatedCount: 0n,
    unchangedCount: 0n,
    failedCount: 1n,
  };
  expect(report).toMatchObject({ ...counts, replayed: false });
  expect(report.errors.map(({ rowNumber, sku }) => [rowNumber, sku])).toEqual([[4_322n, "cut-4322"]]);
  expect(await countProducts("cut-")).toEqual([{ count: 4_999, unchanged: 4_999, stock: 9_998 }]);

  const again = await importRows(shop, rows, { ...header, requestId: header.requestId.toUpperCase() });
  expect(again).toEqual({ ...report, replayed: true });
  expect(await seenSkus(header)).toEqual([]);
});

test("when the caller resets the stream, the complete batches stay written and nothing else is", async () => {
  const header = createHeader();
  const stop = new AbortController();
  async function* messages() {
    yield* toMessages(header, createRows(slug, "reset-", 1_200));
    await expect.poll(() => countWrittenRows(shop, header)).toBe(1_000);
    stop.abort();
    yield* toMessages(header, createRows(slug, "more-", 1_000), { offset: 1_200 });
  }
  await failureOf(shop.catalog.importProducts(messages(), { signal: stop.signal }));
  const rest = createRows(slug, "reset-", 1_200).slice(1_000);
  const report = await shop.catalog.importProducts(toMessages(header, rest, { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_200n, createdCount: 1_200n });
  expect(await countProducts("more-")).toMatchObject([{ count: 0 }]);
});

test("an import that is resumed drops all cached responses, since an interrupted stream may have dropped none", async () => {
  const other = createHeader();
  await importRows(shop, createRows(slug, "other-", 1), other);
  const key = { case: "sku", value: "other-1" } as const;
  const readPrice = async () => (await shop.catalog.getProduct({ key })).product?.price?.minorUnits;
  const header = createHeader();
  const rows = createRows(slug, "resumed-", 1_001);
  const stop = new AbortController();
  async function* messages() {
    yield* toMessages(header, rows.slice(0, 1_000));
    await expect.poll(() => countWrittenRows(shop, header)).toBe(1_000);
    stop.abort();
  }
  await failureOf(shop.catalog.importProducts(messages(), { signal: stop.signal }));
  // As a change of the first stream whose process died before the invalidation. Repeated until a cached response hides
  // it: a process that is too busy to receive its heartbeats drops all responses by itself.
  const hidesChange = async () => {
    const price = await readPrice();
    await shop.database.query("update product set price_minor = price_minor + 1 where sku = 'other-1'");
    return (await readPrice()) === price;
  };
  await expect.poll(hidesChange).toBe(true);
  await shop.catalog.importProducts(toMessages(header, rows.slice(1_000), { offset: 1_000 }));
  const [stored] = await shop.database.query<{ price: string }>(
    "select price_minor as price from product where sku = 'other-1'",
  );
  expect(await readPrice()).toBe(BigInt(stored?.price ?? 0));
});

test("a sku that occurs again after an interruption is rejected", async () => {
  const header = createHeader();
  async function* messages() {
    yield* toMessages(header, createRows(slug, "once-", 1_000));
    yield* toMessages(header, [], { offset: 5_000 });
  }
  // A gap within a stream is rejected, and the rows before it are written.
  expect(await failureOf(shop.catalog.importProducts(messages()))).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "1000" },
  });
  const second = createRows(slug, "once-", 1, { name: "Second" });
  const report = await shop.catalog.importProducts(toMessages(header, second, { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_001n, createdCount: 1_000n, failedCount: 1n });
  expect(report.errors).toMatchObject([{ rowNumber: 1_001n, sku: "once-1", field: "sku" }]);
});

test("of two concurrent streams of one import at most one succeeds, and no row is written twice", async () => {
  const header = createHeader();
  const rows = createRows(slug, "twice-", 3_000, { stockQuantity: 1n });
  // Neither can write its first batch: one waits for the product, the other for the skus that the first has recorded.
  await importRows(shop, rows.slice(0, 1));
  const release = await lockProduct(shop.database, "twice-1");
  const streams = [importRows(shop, rows, header), importRows(shop, rows, header)];
  const outcomes = Promise.allSettled(streams);
  await expect.poll(() => countLockWaits(shop.database, "insert into product_import_sku")).toBeGreaterThan(0);
  await release();
  const rejected = (await outcomes).flatMap(({ status }, index) =>
    status === "rejected" ? [streams[index]] : [],
  );
  // Each may have written rows that the other comes to. Then both fail, and the import is completed by a third.
  expect(rejected.length).toBeGreaterThanOrEqual(1);
  for (const stream of rejected) {
    if (stream === undefined) continue;
    expect(await failureOf(stream)).toMatchObject({ code: "Aborted", reason: "IMPORT_RUNNING_ELSEWHERE" });
  }
  expect(await importRows(shop, rows, header)).toMatchObject({ rowCount: 3_000n, createdCount: 2_999n });
  expect(await countProducts("twice-")).toEqual([{ count: 3_000, unchanged: 3_000, stock: 3_000 }]);
});

test("a request_id cannot be used again for an import in another mode", async () => {
  const header = createHeader();
  await importRows(shop, createRows(slug, "mode-", 1), header);
  const other = importRows(shop, createRows(slug, "mode-", 1), { ...header, mode: ImportMode.FULL });
  expect(await failureOf(other)).toMatchObject({
    code: "InvalidArgument",
    reason: "REQUEST_ID_REUSED",
    fields: ["request_id"],
  });
});
