import { afterAll, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { openRedis } from "../../../../src/infra/redis/redis.ts";
import { type LockLease, RedisLock } from "../../../../src/infra/redis/redis-lock.ts";
import { silentLog } from "../../../support/log.ts";
import { startRedisServer } from "../../../support/stores/redis-server.ts";

const server = await startRedisServer();
beforeEach(async () => {
  await server.command("flushall");
});
afterAll(() => server.stop());

const { signal } = new AbortController();

/** Connects like a replica. By default it waits for the lock until the test ends. */
async function openLock({ leaseMs = 600_000, waitMs = 600_000 } = {}): Promise<RedisLock> {
  const { client, close } = openRedis(server.url, silentLog, 60_000);
  onTestFinished(close);
  await expect.poll(() => client.status).toBe("ready");
  return new RedisLock({ redis: client, namespace: "test", name: "lock", leaseMs, waitMs, log: silentLog });
}

const tokenOf = (lease: LockLease | undefined) => lease?.token ?? -1n;

test("holders of a name exclude each other, and their tokens grow", async () => {
  const locks = await Promise.all([openLock(), openLock()]);
  let holders = 0;
  const tokens: bigint[] = [];
  await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const lease = await locks[index % 2]?.acquire(["a"], { signal });
      holders += 1;
      expect(holders).toBe(1);
      tokens.push(tokenOf(lease));
      await new Promise(setImmediate);
      holders -= 1;
      lease?.release();
    }),
  );
  expect(tokens).toEqual(Array.from({ length: 40 }, (_, index) => BigInt(index + 1)));
});

test("all names are locked or none, and other names stay free", async () => {
  const lock = await openLock({ waitMs: 0 });
  const lease = await lock.acquire(["b"], { signal });
  expect(await lock.acquire(["a", "b"], { signal })).toBeUndefined();
  expect(await lock.acquire(["a", "c"], { signal })).toBeDefined();
  lease?.release();
  expect(await lock.acquire(["b"], { signal })).toBeDefined();
});

test("a lease ends by itself, and its holder does not release the next one", async () => {
  const [brief, other] = await Promise.all([openLock({ leaseMs: 1 }), openLock()]);
  const ended = await brief.acquire(["a"], { signal });
  const lease = await other.acquire(["a"], { signal });
  expect(tokenOf(lease)).toBeGreaterThan(tokenOf(ended));
  ended?.release();
  expect(await (await openLock({ waitMs: 0 })).acquire(["a"], { signal })).toBeUndefined();
});

test("after a loss of data, tokens continue above the highest one that the caller has seen", async () => {
  const lock = await openLock();
  for (let count = 0; count < 5; count += 1) (await lock.acquire(["a"], { signal }))?.release();
  await server.command("flushall");
  const restarted = await lock.acquire(["a"], { signal });
  expect(tokenOf(restarted)).toBe(1n);
  restarted?.release();
  const raised = await lock.acquire(["a"], { signal, minToken: 5n });
  expect(tokenOf(raised)).toBe(6n);
  expect(tokenOf(await lock.acquire(["b"], { signal }))).toBe(7n);
});

test("an aborted call waits no longer", async () => {
  const lock = await openLock();
  await lock.acquire(["a"], { signal });
  const caller = new AbortController();
  const waiting = lock.acquire(["a"], { signal: caller.signal });
  caller.abort();
  expect(await waiting).toBeUndefined();
});

test("without Redis there is no lease, and only one command a second is tried", async () => {
  vi.spyOn(performance, "now").mockReturnValue(0);
  onTestFinished(() => void vi.restoreAllMocks());
  let commands = 0;
  const redis = {
    eval: async () => {
      commands += 1;
      throw new Error("not connected");
    },
  };
  const lock = new RedisLock({
    redis,
    namespace: "test",
    name: "lock",
    leaseMs: 1_000,
    waitMs: 600_000,
    log: silentLog,
  });
  const leases = await Promise.all(Array.from({ length: 10 }, () => lock.acquire(["a"], { signal })));
  expect(leases.every((lease) => lease === undefined)).toBe(true);
  // The circuit breaker opens with the first failure; the calls that had started before it fail too.
  const before = commands;
  expect(await lock.acquire(["a"], { signal })).toBeUndefined();
  expect(commands).toBe(before);
});
