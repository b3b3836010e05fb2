import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeFailure } from "../../support/orders/order-load.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { countDeadlocks } from "../../support/stores/database-activity.ts";
import { startDedicatedRedis } from "../../support/stores/dedicated-redis.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import type { RedisServer } from "../../support/stores/redis-server.ts";

// Hundreds of calls take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

/** Starts two replicas on one database and one Redis. */
async function openReplicas(redis: RedisServer, env: Record<string, string>): Promise<[TestShop, TestShop]> {
  const first = await startShop({ REDIS_URL: redis.url, ...env });
  onTestFinished(() => first.close());
  const second = await startShop({ REDIS_URL: redis.url, DATABASE_URL: first.database.url, ...env });
  onTestFinished(() => second.close());
  return [first, second];
}

/** Places orders of one unit at all replicas at the same time. Returns the number of each outcome. */
async function placeOrders(
  shops: readonly TestShop[],
  productId: string,
  count: number,
): Promise<Record<string, number>> {
  const outcomes = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      shops[index % shops.length]?.orders
        .createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } })
        .then(() => "ordered", describeFailure),
    ),
  );
  const counts = Map.groupBy(outcomes, (outcome) => outcome ?? "not sent");
  return Object.fromEntries([...counts].map(([outcome, { length }]) => [outcome, length]));
}

/** Lets a Redis server record its commands, and returns a function that counts those for the lock so far. */
async function recordLockCommands(redis: RedisServer): Promise<() => Promise<number>> {
  const client = new Redis(redis.url);
  onTestFinished(() => client.disconnect());
  // The log of slow commands, with a threshold of 0. MONITOR can send its first command together with its own reply,
  // which ioredis takes for an error.
  await client.config("SET", "slowlog-max-len", "100000");
  await client.config("SET", "slowlog-log-slower-than", "0");
  return async () => JSON.stringify(await client.slowlog("GET", "-1")).split("stock-lock").length - 1;
}

test("two replicas with the lock sell exactly the units of a hot product", async () => {
  const redis = await startDedicatedRedis();
  const shops = await openReplicas(redis, { STOCK_LOCK: "redis" });
  const countLockCommands = await recordLockCommands(redis);
  const productId = await makeProduct(shops[0], { stock: 100n });
  expect(await placeOrders(shops, productId, 400)).toEqual({
    ordered: 100,
    "FailedPrecondition OUT_OF_STOCK": 300,
  });
  expect(await stockOf(shops[0], productId)).toBe(0n);
  // Both replicas have requested and released the lock.
  await expect.poll(countLockCommands).toBeGreaterThanOrEqual(4);
  expect(await findViolations(shops[0].database.url)).toEqual([]);
  expect(await countDeadlocks(shops[0].database)).toBe(0);
});

test("when Redis is killed between batches, orders go on without the lock", async () => {
  const redis = await startDedicatedRedis();
  const shops = await openReplicas(redis, { STOCK_LOCK: "redis" });
  const productId = await makeProduct(shops[0], { stock: 1_000n });
  const place = () => placeOrders(shops, productId, 100);
  expect(await place()).toEqual({ ordered: 100 });
  const during = place();
  await redis.kill();
  expect(await during).toEqual({ ordered: 100 });
  expect(await place()).toEqual({ ordered: 100 });
  await redis.start();
  const countLockCommands = await recordLockCommands(redis);
  // Redis has lost the counter of tokens, and the database has not.
  await expect
    .poll(
      async () => {
        expect(await placeOrders(shops, productId, 20)).toEqual({ ordered: 20 });
        return countLockCommands();
      },
      { timeout: 300_000 },
    )
    .toBeGreaterThan(0);
  const stored = await shops[0].database.query<{ count: string }>("select count(*) from orders");
  expect(await stockOf(shops[0], productId)).toBe(1_000n - BigInt(stored[0]?.count ?? -1));
  expect(await findViolations(shops[0].database.url)).toEqual([]);
});

test("by default no command for the lock is sent to Redis", async () => {
  const redis = await startDedicatedRedis();
  const shops = await openReplicas(redis, {});
  const countLockCommands = await recordLockCommands(redis);
  const productId = await makeProduct(shops[0], { stock: 100n });
  expect(await placeOrders(shops, productId, 100)).toEqual({ ordered: 100 });
  expect(await countLockCommands()).toBe(0);
  // The record has such commands.
  await redis.command("echo", "stock-lock");
  expect(await countLockCommands()).toBe(1);
});
