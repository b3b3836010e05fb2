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
  signal,
  toMessages,
} from "../../../support/import/import-rows.ts";
import { breaches } from "../../../support/invariants.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { startTcpProxy } from "../../../support/tcp-proxy.ts";

let shop: TestShop;
let slug: string;
beforeAll(async () => {
  shop = await startShop();
  slug = await createCategorySlug(shop);
});
afterEach(async () => expect(await breaches(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** How many products there are whose sku begins so, and how many of them are as their first row made them. */
const stored = (prefix: string) =>
  shop.database.query(
    `select count(*)::int as count, count(*) filter (where version = 1)::int as fresh, coalesce(sum(stock_quantity), 0)::int as stock
     from product where sku like $1 || '%'`,
    [prefix],
  );

/** What is left of imports that are to be finished. */
const remembered = ({ requestId }: ImportHeader) =>
  shop.database.query("select from product_import_sku where request_id = $1", [requestId]);

test("a connection that is cut in the middle loses no row and doubles none", async () => {
  const rows = createRows(slug, "cut-", 5_000, { stockQuantity: 2n });
  rows[4_321] = { ...rows[4_321], name: "" };
  const of = createHeader();
  const link = await startTcpProxy(Number(new URL(shop.url).port));
  const { catalog } = createClient({
    baseUrl: `http://127.0.0.1:${link.port}`,
    transport: createGrpcTransport,
  });
  const half = signal();
  async function* messages() {
    yield* toMessages(of, rows.slice(0, 2_600));
    await half.given;
  }
  const broken = failureOf(catalog.importProducts(messages()));
  await expect.poll(() => countWrittenRows(shop, of)).toBe(2_000);
  await link.close();
  half.give();
  expect(await broken).toMatchObject({ code: "Unavailable" });
  // The part that was not complete is not written.
  expect(await countWrittenRows(shop, of)).toBe(2_000);

  const beyond = shop.catalog.importProducts(toMessages(of, rows.slice(2_600), { offset: 2_600 }));
  expect(await failureOf(beyond)).toMatchObject({
    code: "FailedPrecondition",
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "2000" },
  });
  const report = await shop.catalog.importProducts(toMessages(of, rows.slice(1_234), { offset: 1_234 }));
  const whole = {
    rowCount: 5_000n,
    createdCount: 4_999n,
    updatedCount: 0n,
    unchangedCount: 0n,
    failedCount: 1n,
  };
  expect(report).toMatchObject({ ...whole, replayed: false });
  expect(report.errors.map(({ rowNumber, sku }) => [rowNumber, sku])).toEqual([[4_322n, "cut-4322"]]);
  expect(await stored("cut-")).toEqual([{ count: 4_999, fresh: 4_999, stock: 9_998 }]);

  const again = await importRows(shop, rows, { ...of, requestId: of.requestId.toUpperCase() });
  expect(again).toEqual({ ...report, replayed: true });
  expect(await remembered(of)).toEqual([]);
});

test("a caller who resets the stream is noticed, and what was complete stays", async () => {
  const of = createHeader();
  const stop = new AbortController();
  async function* messages() {
    yield* toMessages(of, createRows(slug, "reset-", 1_200));
    await expect.poll(() => countWrittenRows(shop, of)).toBe(1_000);
    stop.abort();
    yield* toMessages(of, createRows(slug, "more-", 1_000), { offset: 1_200 });
  }
  await failureOf(shop.catalog.importProducts(messages(), { signal: stop.signal }));
  const rest = createRows(slug, "reset-", 1_200).slice(1_000);
  const report = await shop.catalog.importProducts(toMessages(of, rest, { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_200n, createdCount: 1_200n });
  expect(await stored("more-")).toMatchObject([{ count: 0 }]);
});

test("a sku is known again after a break", async () => {
  const of = createHeader();
  async function* messages() {
    yield* toMessages(of, createRows(slug, "once-", 1_000));
    yield* toMessages(of, [], { offset: 5_000 });
  }
  // A gap within a stream is refused, and what came before it is written.
  expect(await failureOf(shop.catalog.importProducts(messages()))).toMatchObject({
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: "1000" },
  });
  const second = createRows(slug, "once-", 1, { name: "Second" });
  const report = await shop.catalog.importProducts(toMessages(of, second, { offset: 1_000 }));
  expect(report).toMatchObject({ rowCount: 1_001n, createdCount: 1_000n, failedCount: 1n });
  expect(report.errors).toMatchObject([{ rowNumber: 1_001n, sku: "once-1", field: "sku" }]);
});

test("two streams at once go on with an import only once", async () => {
  const of = createHeader();
  const rows = createRows(slug, "twice-", 3_000, { stockQuantity: 1n });
  const start = signal();
  // Both have been told that nothing is written yet before either has a batch to write.
  async function* messages() {
    yield* toMessages(of, rows.slice(0, 500));
    await start.given;
    yield* toMessages(of, rows.slice(500), { offset: 500 });
  }
  const streams = [shop.catalog.importProducts(messages()), shop.catalog.importProducts(messages())];
  const outcomes = Promise.allSettled(streams);
  await new Promise((resolve) => setTimeout(resolve, 300));
  start.give();
  const lost = (await outcomes).flatMap(({ status }, at) => (status === "rejected" ? [streams[at]] : []));
  // Each may have written rows that the other comes to: then both end, and whoever sends it again completes it.
  expect(lost.length).toBeGreaterThanOrEqual(1);
  for (const stream of lost) {
    if (stream === undefined) continue;
    expect(await failureOf(stream)).toMatchObject({ code: "Aborted", reason: "IMPORT_RUNNING_ELSEWHERE" });
  }
  expect(await importRows(shop, rows, of)).toMatchObject({ rowCount: 3_000n, createdCount: 3_000n });
  expect(await stored("twice-")).toEqual([{ count: 3_000, fresh: 3_000, stock: 3_000 }]);
});

test("a request_id is one import's, of one mode", async () => {
  const of = createHeader();
  await importRows(shop, createRows(slug, "mode-", 1), of);
  const other = importRows(shop, createRows(slug, "mode-", 1), { ...of, mode: ImportMode.FULL });
  expect(await failureOf(other)).toMatchObject({
    code: "InvalidArgument",
    reason: "REQUEST_ID_REUSED",
    fields: ["request_id"],
  });
});
