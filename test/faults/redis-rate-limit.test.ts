import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { type Budget, createLimiter, type Limiter } from "../../src/infra/rate-limit/limiter.ts";
import { openRedis } from "../../src/infra/redis/redis.ts";
import { AppError } from "../../src/kernel/errors.ts";
import { silentLog } from "../support/log.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";

async function opened(): Promise<{ server: RedisServer; limiter: Limiter }> {
  const server = await startRedisServer();
  const redis = openRedis(server.url, silentLog);
  const limiter = createLimiter({ redis: redis.client, namespace: randomUUID(), log: silentLog });
  onTestFinished(async () => {
    limiter.close();
    await redis.close();
    await server.stop();
  });
  await expect.poll(() => limiter.isShared).toBe(true);
  return { server, limiter };
}

const open: Budget = { name: "READ:address", units: 100, windowMs: 60_000, failClosed: false };
const closed: Budget = { name: "AUTH:address", units: 100, windowMs: 60_000, failClosed: true };

const faults: Record<
  string,
  { begin(server: RedisServer): Promise<unknown>; end(server: RedisServer): Promise<unknown> }
> = {
  "is killed": { begin: (server) => server.kill(), end: (server) => server.start() },
  "is frozen": { begin: async (server) => server.freeze(), end: async (server) => server.thaw() },
  "is full": {
    begin: (server) => server.command("config", "set", "maxmemory", "1"),
    end: (server) => server.command("config", "set", "maxmemory", "0"),
  },
};

test.each(Object.entries(faults))(
  "a Redis that %s: this process goes on by itself, and shares again when it is back",
  // On a machine that stands still for a moment it takes longer.
  { retry: 2 },
  async (_name, { begin, end }) => {
    const { server, limiter } = await opened();
    for (let count = 0; count < 40; count += 1) await limiter.spend(open, "a", 1);
    await limiter.spend(closed, "a", 1);
    await begin(server);
    const slow: number[] = [];
    let granted = 0;
    const endMs = performance.now() + 1_500;
    while (performance.now() < endMs) {
      const startMs = performance.now();
      const verdict = await limiter.spend(open, "a", 1);
      const ms = performance.now() - startMs;
      if (ms > 20) slow.push(ms);
      if (verdict.allowed) granted += 1;
      await sleep(2);
    }
    // 40 were spent before, by this very process.
    expect(granted).toBe(60);
    expect(limiter.cachedDenial(open, "a", 1), "what it knows without asking").toMatchObject({
      allowed: false,
    });
    // One finds out, and one asks again after a second.
    expect(slow.length).toBeLessThanOrEqual(3);
    expect(Math.max(0, ...slow)).toBeLessThan(200);
    const refusal = await Promise.resolve()
      .then(() => limiter.spend(closed, "a", 1))
      .catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(AppError);
    expect(refusal).toMatchObject({ code: "unavailable", details: { reason: "LIMITS_AWAY" } });
    await end(server);
    await expect
      .poll(async () => {
        await limiter.spend(open, "b", 1);
        return limiter.isShared;
      })
      .toBe(true);
    expect(await limiter.spend(closed, "a", 1)).toMatchObject({ allowed: true });
    // Redis knows of the 40 at most; what this process gave away meanwhile, it knows itself.
    expect(await limiter.spend(open, "a", 1)).toMatchObject({ allowed: false, remaining: 0 });
  },
);

// On a machine that stands still for a moment it takes longer.
test("calls that wait when Redis freezes wait for 50 ms, and not one after the other", {
  retry: 2,
}, async () => {
  const { server, limiter } = await opened();
  await limiter.spend(open, "a", 1);
  server.freeze();
  const startMs = performance.now();
  const waits = [limiter.spend(open, "a", 1)];
  for (let count = 0; count < 20; count += 1) {
    await sleep(2);
    waits.push(limiter.spend(open, "a", 1), limiter.spend(open, `other ${count}`, 1));
  }
  await Promise.all(waits);
  expect(performance.now() - startMs).toBeLessThan(160);
});
