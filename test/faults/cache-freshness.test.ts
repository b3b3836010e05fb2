import { randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { checkFreshness, type Traffic } from "../support/cache/freshness.ts";
import { NaiveCache } from "../support/cache/naive-cache.ts";
import { openPriceClient, type PriceClient, withNaiveCache } from "../support/cache/price-client.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { createTestDatabase, type TestDatabase } from "../support/stores/database.ts";
import { findViolations } from "../support/stores/invariants.ts";
import { type RedisServer, startRedisServer } from "../support/stores/redis-server.ts";

const READS = 2_000;
const ROWS = 8;
const TIMEOUT_MS = 300_000;

let database: TestDatabase;
let redis: RedisServer;
let productIds: string[];
const services: ServiceProcess[] = [];
const clients: PriceClient[] = [];
beforeEach(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedisServer()]);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const { child, exited } of services.splice(0)) {
    child.kill("SIGKILL");
    await exited;
  }
  await redis.stop();
  await database.drop();
});

/** Starts replicas with some products. */
async function startReplicas(replicas: number, env: Record<string, string> = {}): Promise<void> {
  const stores = {
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    SEED_DEMO: "off",
    // On a busy machine calls may wait longer for a connection.
    DB_POOL_WAIT_MS: "30000",
  };
  // They can start concurrently: the database is a clone of a migrated one.
  for (let count = 0; count < replicas; count += 1)
    services.push(startProcess({ PORT: "0", ...stores, ...env }));
  const urls = await Promise.all(services.map(({ listening }) => listening));
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: urls[0] ?? "" }));
  const { category } = await catalog.createCategory({ category: { slug: "c", name: "C" } });
  productIds = [];
  for (let row = 0; row < ROWS; row += 1) {
    const { product } = await catalog.createProduct({
      product: {
        sku: `SKU-${row}`,
        name: `Product ${row}`,
        categoryId: category?.id ?? "",
        price: { currencyCode: "EUR", minorUnits: 0n },
      },
    });
    productIds.push(product?.id ?? "");
  }
  clients.push(...urls.map((url) => openPriceClient(url, productIds)));
}

/** Checks invariant I9: after the last write, cached reads equal the database. */
async function expectCachesEqualDatabase(): Promise<void> {
  const rows = await database.query<{ id: string; price: number }>(
    "select id, price_minor::int as price from product",
  );
  const prices = new Map(rows.map(({ id, price }) => [id, price]));
  const stored = productIds.map((id) => prices.get(id) ?? Number.NaN);
  const readAll = (client: PriceClient) => Promise.all(productIds.map((_, row) => client.read(row)));
  await expect.poll(() => Promise.all(clients.map(readAll))).toEqual(clients.map(() => stored));
}

const traffic = { rows: ROWS, concurrency: 24, pauseMs: () => Math.random() * 60 };

/** Waits until all replicas have returned enough values from memory. On a busy machine, leases end often. */
async function waitForMemoryReads({ progress }: Traffic): Promise<void> {
  while (clients.some(({ tiers }) => (tiers.get("memory") ?? 0) <= READS / 20)) await progress(100);
}

test.each([2, 3])(
  "none of 2,000 reads through %i replicas is older than the last write acknowledged before it",
  {
    timeout: TIMEOUT_MS,
  },
  async (replicas) => {
    await startReplicas(replicas);
    // Each write is followed by a read through every replica.
    const { stale, reads, writes } = await checkFreshness({
      ...traffic,
      clients,
      reads: READS,
      writes: 200,
      during: waitForMemoryReads,
    });
    expect(stale.slice(0, 5)).toEqual([]);
    expect(reads).toBeGreaterThanOrEqual(READS);
    expect(writes).toBeGreaterThanOrEqual(200);
    await expectCachesEqualDatabase();
  },
);

test("a plain cache-aside before two replicas returns stale reads", { timeout: TIMEOUT_MS }, async () => {
  await startReplicas(2, { CACHE: "off" });
  const redisClient = new Redis(redis.url);
  const cache = new NaiveCache(redisClient, randomUUID());
  const naiveClients = clients.map((client) => withNaiveCache(client, cache));
  const { stale } = await checkFreshness({ ...traffic, clients: naiveClients, reads: 4_000, writes: 300 });
  redisClient.disconnect();
  expect(stale.length).toBeGreaterThan(0);
});

/** Injects several faults of Redis. Reads that complete before the end of a fault have not waited for Redis. */
async function injectRedisFaults({ progress }: Traffic): Promise<void> {
  await progress(1_000, 20);
  redis.freeze();
  await progress(200);
  redis.thaw();
  await progress(1_000, 20);
  await redis.command("flushall");
  await progress(1_000, 10);
  await redis.kill();
  await progress(3_000, 60);
  await redis.start();
  await progress(2_000, 40);
  redis.freeze();
  await progress(3_000, 60);
  redis.thaw();
  await progress(2_000, 40);
  await redis.command("client", "kill", "type", "normal");
  await redis.command("flushall");
  await progress(1_000, 20);
}

/** Waits until all replicas return values from memory. */
async function waitUntilMemoryIsUsed(): Promise<void> {
  await expect
    .poll(
      async () => {
        for (const { tiers } of clients) tiers.clear();
        for (const client of clients) for (let count = 0; count < 3; count += 1) await client.read(0);
        return clients.map(({ tiers }) => tiers.has("memory"));
      },
      { timeout: 30_000 },
    )
    .toEqual(clients.map(() => true));
}

test("while Redis is frozen, flushed, killed and restarted, no read fails, is stale or waits for Redis, and the cache is used again", {
  timeout: TIMEOUT_MS,
}, async () => {
  await startReplicas(2);
  const { stale } = await checkFreshness({
    ...traffic,
    clients,
    reads: 10_000,
    writes: 200,
    concurrency: 16,
    during: injectRedisFaults,
  });
  expect(stale.slice(0, 5)).toEqual([]);
  await expectCachesEqualDatabase();
  await waitUntilMemoryIsUsed();
  expect(await findViolations(database.url)).toEqual([]);
});
