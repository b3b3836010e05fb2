import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { type App, startApp } from "../../../src/app.ts";
import { readConfig } from "../../../src/config.ts";
import { failureOf } from "../../support/errors.ts";
import { createCategorySlug, createRow, importRows } from "../../support/import/import-rows.ts";
import { silentLog } from "../../support/log.ts";
import { type Clients, clientsOf, longDeadline, startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { countLockWaits, whileLocked } from "../../support/stores/database-activity.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const reason = StockReason.RECOUNT;
/** How much the clock of the second instance is behind, in milliseconds. */
const BEHIND_MS = 5_000;

let shop: TestShop;
let dataDir: string;
let secondApp: App;
/** Clients of the second instance, on the same database. Its clock is behind. */
let second: Clients;
let productId: string;

beforeAll(async () => {
  shop = await startShop();
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-recounts-"));
  const config = readConfig({
    PORT: "0",
    DATABASE_URL: shop.database.url,
    REDIS_URL: inject("redisUrl"),
    SEED_DEMO: "off",
    DATA_DIR: dataDir,
    ACCESS: "off",
    LIMITS: "off",
    MAX_CALLS: "10000",
    DB_POOL_WAIT_MS: "30000",
    DB_STATEMENT_TIMEOUT_MS: "30000",
  });
  secondApp = await startApp(config, silentLog, { now: () => new Date(Date.now() - BEHIND_MS) });
  second = clientsOf(createGrpcTransport({ baseUrl: secondApp.url, interceptors: [longDeadline] }));
});
beforeEach(async () => {
  productId = await makeProduct(shop, { stock: 10n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await secondApp?.close(1_000);
  await shop?.close();
  await rm(dataDir, { recursive: true, force: true });
});

/** Returns the recounts of the product in the order in which they were written, with their times in milliseconds. */
const recounts = () =>
  shop.database.query<{ delta: string; time: string }>(
    `select on_hand_delta as delta, (extract(epoch from effective_at) * 1000)::bigint as time
     from stock_movement where product_id = $1 and reason = 'RECOUNT' order by id`,
    [productId],
  );

test("200 concurrent recounts through two instances all succeed, and the last one determines the stock", async () => {
  const calls = Array.from({ length: 200 }, (_, index) => {
    const { catalog } = index % 2 === 0 ? shop : second;
    return catalog.adjustStock({ productId, delta: BigInt(index + 1), reason });
  });
  const settled = await Promise.allSettled(calls);
  expect(settled.filter(({ status }) => status === "rejected")).toEqual([]);
  const recorded = await recounts();
  expect(recorded).toHaveLength(200);
  const times = recorded.map(({ time }) => BigInt(time));
  expect(times.filter((time, index) => index > 0 && time <= (times[index - 1] ?? 0n))).toEqual([]);
  const last = await calls[Number(recorded.at(-1)?.delta) - 1];
  expect(last?.product?.stockQuantity).toBe(10n + (200n * 201n) / 2n);
  expect(await stockOf(shop, productId)).toBe(last?.product?.stockQuantity);
});

test("recounts and imported counts without a time succeed after each other on instances with different clocks", async () => {
  const slug = await createCategorySlug(shop);
  await importRows(shop, [createRow(slug, "counted", { stockQuantity: 5n })]);
  const { product } = await shop.catalog.getProduct({ key: { case: "sku", value: "counted" } });
  productId = product?.id ?? "";
  await shop.catalog.adjustStock({ productId, delta: 1n, reason });
  for (const [clients, stockQuantity] of [
    [second, 7n],
    [shop, 8n],
    [second, 9n],
  ] as const) {
    const report = await importRows(clients, [createRow(slug, "counted", { stockQuantity })]);
    expect(report).toMatchObject({ updatedCount: 1n, failedCount: 0n });
    await second.catalog.adjustStock({ productId, delta: 10n, reason });
    await second.catalog.adjustStock({ productId, delta: -10n, reason });
  }
  const times = (await recounts()).map(({ time }) => BigInt(time));
  expect(times).toHaveLength(10);
  expect(times).toEqual([...new Set(times)].sort((a, b) => (a < b ? -1 : 1)));
  expect(await stockOf(shop, productId)).toBe(9n);
});

test("a recount without a time that waited for the lock is later than a recount written in the meantime", async () => {
  const { promise: adjusted, resolve } = Promise.withResolvers<unknown>();
  await whileLocked(shop.database, productId, async () => {
    resolve(shop.catalog.adjustStock({ productId, delta: 1n, reason }));
    await expect.poll(() => countLockWaits(shop.database, "from inventory")).toBe(1);
    await shop.database.query("update inventory set on_hand = 12 where product_id = $1", [productId]);
    await shop.database.query(
      `insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
       values ($1, 2, 'RECOUNT', date_trunc('milliseconds', clock_timestamp()), clock_timestamp())`,
      [productId],
    );
    await shop.database.query("commit");
  });
  await expect(adjusted).resolves.toMatchObject({ product: { stockQuantity: 13n } });
});

test("a recount without a time is rejected while a recount with a later time is recorded", async () => {
  const effectiveTime = timestampFromDate(new Date(Date.now() + 30_000));
  await shop.catalog.adjustStock({ productId, delta: 1n, reason, effectiveTime });
  for (const { catalog } of [shop, second]) {
    const call = catalog.adjustStock({ productId, delta: 1n, reason });
    expect(await failureOf(call)).toMatchObject({
      code: "FailedPrecondition",
      reason: "RECOUNT_OUTDATED",
      preconditions: ["RECOUNT"],
    });
  }
  expect(await stockOf(shop, productId)).toBe(11n);
});
