import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { expect, inject, onTestFinished, test } from "vitest";
import {
  type Budget,
  createLimiter,
  type Decision,
  type Limiter,
} from "../../../../src/infra/rate-limit/limiter.ts";
import { openRedis } from "../../../../src/infra/redis/redis.ts";
import { silentLog } from "../../../support/log.ts";
import { type RedisServer, startRedisServer } from "../../../support/redis-server.ts";

/** Limiters of so many processes of one shop. */
async function openLimiters(count: number, url = inject("redisUrl")): Promise<Limiter[]> {
  const namespace = randomUUID();
  return Promise.all(
    Array.from({ length: count }, async () => {
      const redis = openRedis(url, silentLog);
      const limiter = createLimiter({ redis: redis.client, namespace, log: silentLog });
      onTestFinished(async () => {
        limiter.close();
        await redis.close();
      });
      await expect.poll(() => limiter.isShared).toBe(true);
      return limiter;
    }),
  );
}

async function openOne(url?: string): Promise<Limiter> {
  const [limiter] = await openLimiters(1, url);
  if (limiter === undefined) throw new Error("there is none");
  return limiter;
}

const budgetOf = (units: number, windowMs = 60_000): Budget => ({
  name: "READ:address",
  units,
  windowMs,
  failClosed: false,
});

const passed = (verdicts: readonly Decision[]) => verdicts.filter(({ allowed }) => allowed).length;

/** So many calls at once. */
async function spendAll(limiter: Limiter, budget: Budget, count: number, cost = 1): Promise<Decision[]> {
  return Promise.all(Array.from({ length: count }, async () => limiter.spend(budget, "a", cost)));
}

/** How many scripts a server has run. */
async function scriptsOf(server: RedisServer): Promise<number> {
  const stats = String(await server.command("info", "commandstats"));
  const counts = [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)];
  return counts.reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/** One call, nine towards the end of its second, ten at the beginning of the next: the last 19 are within a second. */
async function acrossBoundary(spend: (count: number) => Promise<number>): Promise<number> {
  await spend(1);
  await sleep(850);
  const before = await spend(9);
  await sleep(200);
  return before + (await spend(10));
}

// On a machine that stands still for a moment the calls miss the boundary.
test("exactly 10 of 19 calls in a second pass, where a fixed window lets all 19 pass", {
  retry: 3,
}, async () => {
  const redis = new Redis(inject("redisUrl"));
  onTestFinished(() => redis.disconnect());
  const fixed = new RateLimiterRedis({
    storeClient: redis,
    keyPrefix: randomUUID(),
    points: 10,
    duration: 1,
  });
  const sliding = await openOne();
  const spendFixed = async (count: number) => {
    const calls = await Promise.allSettled(Array.from({ length: count }, () => fixed.consume("a")));
    return calls.filter(({ status }) => status === "fulfilled").length;
  };
  const spendSliding = async (count: number) => passed(await spendAll(sliding, budgetOf(10, 1_000), count));
  const [withFixed, withSliding] = await Promise.all([
    acrossBoundary(spendFixed),
    acrossBoundary(spendSliding),
  ]);
  expect({ withFixed, withSliding }).toEqual({ withFixed: 19, withSliding: 10 });
});

test("processes share a budget, and each knows what is left", async () => {
  const [one, two] = await openLimiters(2);
  if (one === undefined || two === undefined) throw new Error("there are none");
  const verdicts = [
    await one.spend(budgetOf(3), "a", 2),
    await two.spend(budgetOf(3), "b", 2),
    await two.spend(budgetOf(3), "a", 1),
    await one.spend(budgetOf(3), "a", 1),
  ];
  expect(verdicts.map(({ allowed, remaining }) => [allowed, remaining])).toEqual([
    [true, 1],
    [true, 1],
    [true, 0],
    [false, 0],
  ]);
});

test("calls that come at once are counted one by one, whatever they cost", async () => {
  const limiter = await openOne();
  const budget = budgetOf(100);
  // They are asked about together, and all of them together are too much.
  const verdicts = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => limiter.spend(budget, "a", 1 + (index % 3))),
  );
  const spent = verdicts.reduce((sum, { allowed }, index) => sum + (allowed ? 1 + (index % 3) : 0), 0);
  expect(spent).toBe(100);
  expect(Math.min(...verdicts.map(({ remaining }) => remaining))).toBe(0);
  const others = await openOne();
  expect((await spendAll(others, budget, 10)).map(({ remaining }) => remaining)).toEqual([
    99, 98, 97, 96, 95, 94, 93, 92, 91, 90,
  ]);
});

test("calls of one key that come in one turn are asked about in one question", async () => {
  const server = await startRedisServer();
  onTestFinished(() => server.stop());
  const limiter = await openOne(server.url);
  // The script is known to Redis from the first one on.
  await limiter.spend(budgetOf(100), "a", 1);
  const asked = await scriptsOf(server);
  const verdicts = await spendAll(limiter, budgetOf(100), 20);
  expect(verdicts.map(({ remaining }) => remaining)).toEqual(Array.from({ length: 20 }, (_, at) => 98 - at));
  expect(await scriptsOf(server)).toBe(asked + 1);
});

test("whoever is refused is refused from memory until it is time, without a word to Redis", async () => {
  const server = await startRedisServer();
  onTestFinished(() => server.stop());
  const limiter = await openOne(server.url);
  const budget = budgetOf(10, 1_000);
  await limiter.spend(budget, "a", 8);
  const { retryAfterMs = 0 } = await limiter.spend(budget, "a", 5);
  const asked = await scriptsOf(server);
  const verdicts = await spendAll(limiter, budget, 1_000, 5);
  expect(passed(verdicts)).toBe(0);
  expect(verdicts[999]).toMatchObject({ limit: 10, remaining: 2 });
  expect(verdicts[999]?.retryAfterMs).toBeLessThanOrEqual(retryAfterMs);
  expect(await scriptsOf(server)).toBe(asked);
  expect(await limiter.spend(budget, "a", 2), "what costs less").toMatchObject({
    allowed: true,
    remaining: 0,
  });
  await sleep(retryAfterMs);
  expect(await limiter.spend(budget, "a", 5), "when it is time").toMatchObject({ allowed: true });
});

test("after trouble a process gives back at once what Redis has not allowed", async () => {
  const server = await startRedisServer();
  onTestFinished(() => server.stop());
  const [one, two] = await openLimiters(2, server.url);
  if (one === undefined || two === undefined) throw new Error("there are none");
  await server.kill();
  await server.start();
  await expect.poll(() => one.isShared && two.isShared).toBe(true);
  const budget = budgetOf(20);
  await two.spend(budget, "a", 15);
  expect(await one.spend(budget, "a", 20)).toMatchObject({ allowed: false, remaining: 5 });
  expect(await one.spend(budget, "a", 5)).toMatchObject({ allowed: true, remaining: 0 });
});

test("a Redis that comes back empty gives nobody a second budget from the same process", async () => {
  const server = await startRedisServer();
  onTestFinished(() => server.stop());
  const limiter = await openOne(server.url);
  expect(passed(await spendAll(limiter, budgetOf(10), 10))).toBe(10);
  await server.kill();
  await server.start();
  await expect.poll(() => limiter.isShared).toBe(true);
  expect(passed(await spendAll(limiter, budgetOf(10), 10))).toBe(0);
});
