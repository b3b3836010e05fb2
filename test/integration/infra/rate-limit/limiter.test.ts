import { expect, test } from "vitest";
import {
  countAllowed,
  countScripts,
  createBudget,
  createManualClock,
  openLimiter,
  openTwoLimiters,
  spendConcurrently,
} from "../../../support/rate-limit/limiters.ts";
import { startDedicatedRedis } from "../../../support/stores/dedicated-redis.ts";

test("two replicas share a budget, and each decision has the remaining units", async () => {
  const [one, two] = await openTwoLimiters();
  const decisions = [
    await one.spend(createBudget(3), "a", 2),
    await two.spend(createBudget(3), "b", 2),
    await two.spend(createBudget(3), "a", 1),
    await one.spend(createBudget(3), "a", 1),
  ];
  expect(decisions.map(({ allowed, remaining }) => [allowed, remaining])).toEqual([
    [true, 1],
    [true, 1],
    [true, 0],
    [false, 0],
  ]);
});

test("concurrent calls of different costs spend exactly the budget", async () => {
  const limiter = await openLimiter();
  const budget = createBudget(100);
  const costOf = (index: number) => 1 + (index % 3);
  // They form one batch whose sum exceeds the budget.
  const decisions = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => limiter.spend(budget, "a", costOf(index))),
  );
  const spent = decisions.reduce((sum, { allowed }, index) => sum + (allowed ? costOf(index) : 0), 0);
  expect(spent).toBe(100);
  expect(Math.min(...decisions.map(({ remaining }) => remaining))).toBe(0);
});

test("each of several concurrent calls gets its own remainder", async () => {
  const decisions = await spendConcurrently(await openLimiter(), createBudget(100), 10);
  expect(decisions.map(({ remaining }) => remaining)).toEqual([99, 98, 97, 96, 95, 94, 93, 92, 91, 90]);
});

test("concurrent calls of one key need one request to Redis", async () => {
  const server = await startDedicatedRedis();
  const limiter = await openLimiter({ url: server.url });
  // The first call also loads the script.
  await limiter.spend(createBudget(100), "a", 1);
  const scripts = await countScripts(server);
  const decisions = await spendConcurrently(limiter, createBudget(100), 20);
  expect(decisions.map(({ remaining }) => remaining)).toEqual(Array.from({ length: 20 }, (_, at) => 98 - at));
  expect(await countScripts(server)).toBe(scripts + 1);
});

test("a denied key is denied from memory until its retry time, without a request to Redis", async () => {
  const server = await startDedicatedRedis();
  const clock = createManualClock();
  const limiter = await openLimiter({ url: server.url, nowMs: clock.nowMs });
  const budget = createBudget(10, 1_000);
  await limiter.spend(budget, "a", 8);
  const { allowed, retryAfterMs = 0 } = await limiter.spend(budget, "a", 5);
  expect(allowed).toBe(false);
  const scripts = await countScripts(server);
  clock.advance(retryAfterMs - 1);
  const decisions = await spendConcurrently(limiter, budget, 1_000, 5);
  expect(countAllowed(decisions)).toBe(0);
  expect(decisions[999]).toMatchObject({ limit: 10, remaining: 2, retryAfterMs: 1 });
  expect(await countScripts(server)).toBe(scripts);
  clock.advance(1);
  await limiter.spend(budget, "a", 5);
  expect(await countScripts(server)).toBe(scripts + 1);
});

test("a denied key may still spend a lower cost that is left", async () => {
  const limiter = await openLimiter();
  const budget = createBudget(10);
  await limiter.spend(budget, "a", 8);
  expect(await limiter.spend(budget, "a", 5)).toMatchObject({ allowed: false, remaining: 2 });
  expect(await limiter.spend(budget, "a", 2)).toMatchObject({ allowed: true, remaining: 0 });
});

test("calls are allowed again once the spent units have left the window", async () => {
  const limiter = await openLimiter();
  const budget = createBudget(10, 1_000);
  await limiter.spend(budget, "a", 10);
  await expect.poll(() => limiter.spend(budget, "a", 5)).toMatchObject({ allowed: true });
});

test("after a failure of Redis a process refunds locally what Redis denies", async () => {
  const server = await startDedicatedRedis();
  const [one, two] = await openTwoLimiters({ url: server.url });
  await server.kill();
  await server.start();
  await expect.poll(() => one.isShared && two.isShared).toBe(true);
  const budget = createBudget(20);
  await two.spend(budget, "a", 15);
  expect(await one.spend(budget, "a", 20)).toMatchObject({ allowed: false, remaining: 5 });
  expect(await one.spend(budget, "a", 5)).toMatchObject({ allowed: true, remaining: 0 });
});

test("a key has no second budget in a replica when Redis recovers without data", async () => {
  const server = await startDedicatedRedis();
  const limiter = await openLimiter({ url: server.url });
  expect(countAllowed(await spendConcurrently(limiter, createBudget(10), 10))).toBe(10);
  await server.kill();
  await server.start();
  await expect.poll(() => limiter.isShared).toBe(true);
  expect(countAllowed(await spendConcurrently(limiter, createBudget(10), 10))).toBe(0);
});
