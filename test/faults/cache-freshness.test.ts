import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { checkFreshness } from "../support/cache/freshness.ts";
import { NaiveCache } from "../support/cache/naive-cache.ts";
import { naively, openPriceClient, type PriceClient } from "../support/cache/price-client.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { breaches } from "../support/invariants.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";

const READS = 100_000;
const ROWS = 8;
/** How long one process may know nothing of what another has written, milliseconds. */
const DELAY_MS = 50;
const LIMIT_MS = 300_000;

let database: TestDatabase;
let redis: RedisServer;
let ids: string[];
const services: ServiceProcess[] = [];
const doors: PriceClient[] = [];
beforeEach(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedisServer()]);
});
afterEach(async () => {
  for (const door of doors.splice(0)) door.close();
  for (const { child, exited } of services.splice(0)) {
    child.kill("SIGKILL");
    await exited;
  }
  await redis.stop();
  await database.drop();
});

/** Two processes of one shop, with some products. */
async function openShop(env: Record<string, string> = {}): Promise<void> {
  // Whoever waits for the database on a busy machine is not to be refused.
  const patience = { DB_POOL_WAIT_MS: "30000" };
  const stores = { DATABASE_URL: database.url, REDIS_URL: redis.url, SEED_DEMO: "off", ...patience };
  // The first one migrates nothing, since the database is a clone: both may start at once.
  for (let count = 0; count < 2; count += 1) services.push(startProcess({ PORT: "0", ...stores, ...env }));
  const urls = await Promise.all(services.map(({ listening }) => listening));
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: urls[0] ?? "" }));
  const { category } = await catalog.createCategory({ category: { slug: "c", name: "C" } });
  ids = [];
  for (let row = 0; row < ROWS; row += 1) {
    const price = { currencyCode: "EUR", minorUnits: 0n };
    const made = { sku: `SKU-${row}`, name: `Product ${row}`, categoryId: category?.id ?? "", price };
    ids.push((await catalog.createProduct({ product: made })).product?.id ?? "");
  }
  doors.push(...urls.map((url) => openPriceClient(url, ids)));
}

/** Every product as each process gives it, and as the database has it. */
async function cachedAndStored(): Promise<[number[][], number[]]> {
  const read = (door: PriceClient) => Promise.all(ids.map((_, row) => door.read(row)));
  const rows = await database.query<{ id: string; price: number }>(
    "select id, price_minor::int as price from product",
  );
  const stored = new Map(rows.map(({ id, price }) => [id, price]));
  return [await Promise.all(doors.map(read)), ids.map((id) => stored.get(id) ?? Number.NaN)];
}

const traffic = { rows: ROWS, readers: 48, delayMs: DELAY_MS, restMs: () => Math.random() * 60 };

test(
  "100,000 reads over two processes: none older than the last write acknowledged before it began",
  async () => {
    await openShop();
    const { stale, writes } = await checkFreshness({ ...traffic, clients: doors, reads: READS, writes: 500 });
    expect(stale.slice(0, 5)).toEqual([]);
    expect(writes).toBeGreaterThanOrEqual(500);
    // And it is the cache that was asked, in both.
    for (const { tiers } of doors) expect(tiers.get("memory")).toBeGreaterThan(READS / 10);
    await sleep(2 * DELAY_MS);
    const [cached, stored] = await cachedAndStored();
    expect(cached).toEqual([stored, stored]);
  },
  LIMIT_MS,
);

test(
  "cache-aside as it is mostly done does not pass that",
  async () => {
    await openShop({ CACHE: "off" });
    const client = new Redis(redis.url);
    const cache = new NaiveCache(client, randomUUID());
    const naive = doors.map((door) => naively(door, cache));
    const { stale } = await checkFreshness({ ...traffic, clients: naive, reads: 10_000, writes: 300 });
    client.disconnect();
    expect(stale.length).toBeGreaterThan(0);
  },
  LIMIT_MS,
);

async function trouble(): Promise<void> {
  await sleep(500);
  redis.freeze();
  await sleep(120);
  redis.thaw();
  await sleep(500);
  await redis.command("flushall");
  await sleep(300);
  await redis.kill();
  await sleep(1_500);
  await redis.start();
  await sleep(2_000);
  redis.freeze();
  await sleep(1_500);
  redis.thaw();
  await sleep(2_000);
  await redis.command("client", "kill", "type", "normal");
  await redis.command("flushall");
  await sleep(1_000);
}

test(
  "while Redis is frozen, flushed, killed and restarted: no error, nothing outdated, no long wait, and it is used again",
  async () => {
    await openShop();
    const during = trouble();
    const { stale, readMs } = await checkFreshness({
      ...{ ...traffic, clients: doors, reads: 10_000, writes: 200, during },
      readers: 16,
    });
    expect(stale.slice(0, 5)).toEqual([]);
    // What waits for Redis gives it up within 50 ms; the rest is for a machine that is busy: a call that
    // hangs on it would take seconds.
    expect(readMs[Math.floor(readMs.length * 0.99)]).toBeLessThan(1_000);
    // I9: writes rest, and a cached read equals the database.
    await sleep(2 * DELAY_MS);
    const [cached, stored] = await cachedAndStored();
    expect(cached).toEqual([stored, stored]);
    expect(await breaches(database.url)).toEqual([]);
  },
  LIMIT_MS,
);
