import { expect, test } from "vitest";
import type { Budget } from "../../src/infra/rate-limit/limiter.ts";
import { COOLDOWN_MS } from "../../src/kernel/async/circuit-breaker.ts";
import { AppError } from "../../src/kernel/errors.ts";
import { createManualClock, openLimiter } from "../support/rate-limit/limiters.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import type { RedisServer } from "../support/stores/redis-server.ts";

/** Twenty times that of the service, so that a busy machine does not exceed it while Redis works. */
const TIMEOUT_MS = 1_000;
const WINDOW_MS = 3_600_000;
const failOpen: Budget = { name: "READ:address", units: 100, windowMs: WINDOW_MS, failClosed: false };
const failClosed: Budget = { name: "AUTH:address", units: 100, windowMs: WINDOW_MS, failClosed: true };

interface Fault {
  begin(server: RedisServer): Promise<unknown>;
  end(server: RedisServer): Promise<unknown>;
}

const faults: Record<string, Fault> = {
  "is killed": { begin: (server) => server.kill(), end: (server) => server.start() },
  "is frozen": { begin: async (server) => server.freeze(), end: async (server) => server.thaw() },
  "is full": {
    begin: (server) => server.command("config", "set", "maxmemory", "1"),
    end: (server) => server.command("config", "set", "maxmemory", "0"),
  },
};

test.each(Object.entries(faults))(
  "when Redis %s, a replica enforces budgets locally without waiting for it, and shares them again afterwards",
  async (_name, { begin, end }) => {
    const server = await startDedicatedRedis();
    const clock = createManualClock();
    const limiter = await openLimiter({ url: server.url, nowMs: clock.nowMs, timeoutMs: TIMEOUT_MS });
    for (let count = 0; count < 40; count += 1) await limiter.spend(failOpen, "a", 1);
    await limiter.spend(failClosed, "a", 1);

    await begin(server);
    // The first call may wait for Redis until it fails.
    let allowed = (await limiter.spend(failOpen, "a", 1)).allowed ? 1 : 0;
    await expect.poll(() => limiter.isShared).toBe(false);
    const decideImmediately = (key: string) => {
      const decision = limiter.spend(failOpen, key, 1);
      if (decision instanceof Promise) throw new Error("the call waits for Redis");
      return decision;
    };
    for (let count = 0; count < 200; count += 1) allowed += decideImmediately("a").allowed ? 1 : 0;
    // This replica has spent 40 before.
    expect(allowed).toBe(60);
    expect(limiter.cachedDenial(failOpen, "a", 1)).toMatchObject({ allowed: false });
    expect(() => limiter.spend(failClosed, "a", 1)).toThrow(AppError);
    expect(() => limiter.spend(failClosed, "a", 1)).toThrow(
      expect.objectContaining({
        code: "unavailable",
        details: expect.objectContaining({ reason: "LIMITS_AWAY" }),
      }),
    );
    // After the cooldown one call may try Redis again, and the others still do not wait.
    clock.advance(COOLDOWN_MS);
    const trial = limiter.spend(failOpen, "b", 1);
    decideImmediately("c");
    expect(await trial).toMatchObject({ allowed: true });
    decideImmediately("c");

    await end(server);
    await expect
      .poll(async () => {
        clock.advance(COOLDOWN_MS);
        await limiter.spend(failOpen, "b", 1);
        return limiter.isShared;
      })
      .toBe(true);
    expect(await limiter.spend(failClosed, "a", 1)).toMatchObject({ allowed: true });
    // Redis has counted 40 units at most, and the replica itself the others.
    expect(await limiter.spend(failOpen, "a", 1)).toMatchObject({ allowed: false, remaining: 0 });
    // A denial by the local count is cached too.
    for (let count = 0; count < 101; count += 1) await limiter.spend(failOpen, "d", 1);
    expect(limiter.cachedDenial(failOpen, "d", 1)).toMatchObject({ allowed: false });
  },
);

test("calls that are queued for a key when Redis freezes all end with the first timeout", async () => {
  const server = await startDedicatedRedis();
  const limiter = await openLimiter({ url: server.url, timeoutMs: TIMEOUT_MS });
  await limiter.spend(failOpen, "a", 1);
  server.freeze();
  let settled = 0;
  const spend = async () => {
    await limiter.spend(failOpen, "a", 1);
    settled += 1;
  };
  const first = spend();
  // The request of the first call is on its way when the others are queued.
  await new Promise((resolve) => setImmediate(resolve));
  const queued = Array.from({ length: 40 }, spend);
  await first;
  await new Promise((resolve) => setImmediate(resolve));
  expect(settled).toBe(41);
  await Promise.all(queued);
  server.thaw();
});
