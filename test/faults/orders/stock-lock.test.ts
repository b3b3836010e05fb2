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

/** Returns the commands that a Redis server receives for the lock, without those of scripts. */
async function recordLockCommands(redis: RedisServer): Promise<string[][]> {
  const client = new Redis(redis.url);
  const monitor = await client.monitor();
  onTestFinished(() => {
    monitor.disconnect();
    client.disconnect();
  });
  const commands: string[][] = [];
  monitor.on("monitor", (_time: string, command: string[], source: string) => {
    if (source !== "lua" && command.some((part) => part.includes("stock-lock"))) commands.push(command);
  });
  return commands;
}

test("two replicas with the lock sell exactly the units of a hot product", async () => {
  const redis = await startDedicatedRedis();
  const shops = await openReplicas(redis, { STOCK_LOCK: "redis" });
  const commands = await recordLockCommands(redis);
  const productId = await makeProduct(shops[0], { stock: 100n });
  expect(await placeOrders(shops, productId, 400)).toEqual({
    ordered: 100,
    "FailedPrecondition OUT_OF_STOCK": 300,
  });
  expect(await stockOf(shops[0], productId)).toBe(0n);
  // Both replicas have requested and released the lock.
  await expect.poll(() => commands.length).toBeGreaterThanOrEqual(4);
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
  const commands = await recordLockCommands(redis);
  // Redis has lost the counter of tokens, and the database has not.
  await expect
    .poll(
      async () => {
        expect(await placeOrders(shops, productId, 20)).toEqual({ ordered: 20 });
        return commands.length;
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
  const commands = await recordLockCommands(redis);
  const productId = await makeProduct(shops[0], { stock: 100n });
  expect(await placeOrders(shops, productId, 100)).toEqual({ ordered: 100 });
  // The server processes commands in order, so those of the orders are recorded before this one.
  await redis.command("echo", "stock-lock");
  await expect.poll(() => commands.length).toBeGreaterThan(0);
  expect(commands).toEqual([["echo", "stock-lock"]]);
});
