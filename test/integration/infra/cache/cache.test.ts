import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { ALL_TAGS, newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  createControlledLoad,
  createRequest,
  createStoppedClock,
  endLockWait,
  openTwoReplicas,
  type Replica,
  textOf,
  waitUntilStored,
} from "../../../support/cache/replica.ts";

/** A row of a database that counts its reads. */
function createRow(value: string) {
  const row = { value, reads: 0, load };
  async function load(): Promise<string> {
    row.reads += 1;
    return row.value;
  }
  return row;
}

const notFound = () => new AppError("not_found", "No such product.", { reason: "PRODUCT_NOT_FOUND" });

/** Opens two replicas on one stopped clock, so that results do not depend on how busy the machine is. */
async function openReplicas() {
  const clock = createStoppedClock();
  const [first, second] = await openTwoReplicas(undefined, { clock, commandTimeoutMs: 30_000 });
  return { clock, first, second };
}

const read = async (replica: Replica, request: ReturnType<typeof createRequest>) =>
  textOf(await replica.cache.getOrLoad(request));

test("an entry is loaded once, then returned from memory, and in another process from Redis and then memory", async () => {
  const { first, second } = await openReplicas();
  const row = createRow("tea");
  const request = createRequest(randomUUID(), row.load);
  const loaded = await first.cache.getOrLoad(request);
  expect([loaded.state, (await first.cache.getOrLoad(request)).state]).toEqual(["miss", "memory"]);
  await waitUntilStored(first, request.key);
  const shared = await second.cache.getOrLoad(request);
  expect([shared.state, (await second.cache.getOrLoad(request)).state]).toEqual(["redis", "memory"]);
  expect(textOf(shared)).toBe("tea");
  expect(shared.entry.etag).toBe(loaded.entry.etag);
  expect(shared.entry.loadedAtMs).toBe(loaded.entry.loadedAtMs);
  expect(row.reads).toBe(1);
});

test("a write is visible immediately in its own replica, and in others when the invalidation arrives", async () => {
  const { first, second } = await openReplicas();
  const row = createRow("old");
  const request = createRequest(randomUUID(), row.load);
  await first.cache.getOrLoad(request);
  await second.cache.getOrLoad(request);
  row.value = "new";
  expect(await first.invalidate(request.key)).toBe(true);
  expect(await read(first, request)).toBe("new");
  await expect.poll(() => read(second, request)).toBe("new");
});

test("tags are case-insensitive", async () => {
  const { first, second } = await openReplicas();
  const row = createRow("old");
  const key = randomUUID();
  const request = createRequest(key, row.load, { tags: [`sku:${key}`] });
  await first.cache.getOrLoad(request);
  await second.cache.getOrLoad(request);
  row.value = "new";
  await first.invalidate(`sku:${key.toUpperCase()}`);
  expect(await read(first, request)).toBe("new");
  await expect.poll(() => read(second, request)).toBe("new");
});

test("a value loaded before an invalidation is returned to earlier callers only, and not stored", async () => {
  const { clock, first, second } = await openReplicas();
  const key = randomUUID();
  const slow = createControlledLoad(() => "old");
  const early = first.cache.getOrLoad(createRequest(key, slow.load));
  await slow.started;
  await first.invalidate(key);
  const request = createRequest(key, async () => "new");
  // A call after the write does not join the earlier load, but waits for the lock that it holds in Redis.
  const late = read(first, request);
  await endLockWait(clock);
  expect(await late).toBe("new");
  slow.complete();
  expect(textOf(await early)).toBe("old");
  expect(first.cache.stats().fencedFills).toBe(1);
  await waitUntilStored(first, key);
  expect(await read(first, request)).toBe("new");
  expect(await read(second, request)).toBe("new");
});

test("a value loaded before another process's invalidation is not stored", async () => {
  const { first, second } = await openReplicas();
  const key = randomUUID();
  const slow = createControlledLoad(() => "old");
  const early = first.cache.getOrLoad(createRequest(key, slow.load));
  await slow.started;
  await second.invalidate(key);
  slow.complete();
  await early;
  const request = createRequest(key, async () => "new");
  await expect.poll(() => read(first, request)).toBe("new");
  expect(await read(second, request)).toBe("new");
});

test("a not_found error is cached for 5 seconds or until a write, in its own process only", async () => {
  const { clock, first, second } = await openReplicas();
  const key = randomUUID();
  let reads = 0;
  const missing = createRequest(key, async () => {
    reads += 1;
    throw notFound();
  });
  expect((await first.cache.getOrLoad(missing)).state).toBe("miss");
  expect((await first.cache.getOrLoad(missing)).state).toBe("memory");
  expect(await read(first, missing)).toContain("No such product.");
  expect((await second.cache.getOrLoad(missing)).state).toBe("miss");
  expect(reads).toBe(2);
  clock.advance(5_001);
  expect((await first.cache.getOrLoad(missing)).state).not.toBe("memory");
  expect(reads).toBe(3);
  const existing = createRequest(key, async () => "some");
  expect(await read(first, existing)).toContain("No such product.");
  await first.invalidate(key);
  expect(await read(first, existing)).toBe("some");
  // A deletion replaces the value by the error again.
  await first.invalidate(key);
  await first.cache.getOrLoad(missing);
  expect((await first.cache.getOrLoad(missing)).state).toBe("memory");
});

test("other errors are thrown to all waiting callers and not cached", async () => {
  const { clock, first } = await openReplicas();
  const load = createControlledLoad(() => {
    throw new AppError("unavailable", "Not now.", { reason: "DATABASE_BUSY" });
  });
  const request = createRequest(randomUUID(), load.load);
  const calls = Array.from({ length: 5 }, async () => first.cache.getOrLoad(request));
  load.complete();
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
  expect(load.count()).toBe(1);
  // The lock of the failed load is still in Redis.
  const next = read(first, { ...request, load: async () => "value" });
  await endLockWait(clock);
  expect(await next).toBe("value");
});

test("an expired value is returned while one new value is loaded, and only for its stale time", async () => {
  const { clock, first, second } = await openReplicas();
  const row = createRow("old");
  const request = createRequest(randomUUID(), row.load, { freshMs: 1_000, staleMs: 10_000 });
  await first.cache.getOrLoad(request);
  await waitUntilStored(first, request.key);
  row.value = "new";
  clock.advance(1_001);
  const results = await Promise.all(Array.from({ length: 20 }, async () => first.cache.getOrLoad(request)));
  expect(new Set(results.map((result) => `${result.state} ${textOf(result)}`))).toEqual(
    new Set(["memory old"]),
  );
  await expect.poll(() => read(first, request)).toBe("new");
  expect(row.reads).toBe(2);
  await expect.poll(() => read(second, request)).toBe("new");
  clock.advance(11_001);
  row.value = "newest";
  expect(await read(first, request)).toBe("newest");
});

test("after an invalidation an expired value is not returned while a new one is loaded", async () => {
  const { clock, first } = await openReplicas();
  const row = createRow("old");
  const request = createRequest(randomUUID(), row.load, { freshMs: 1_000, staleMs: 10_000 });
  await first.cache.getOrLoad(request);
  clock.advance(1_001);
  row.value = "new";
  await first.invalidate(request.key);
  expect(await read(first, request)).toBe("new");
});

test("entries loaded at the same time expire at different times, none later than it may", async () => {
  const { first } = await openReplicas();
  const lifetimes = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const request = createRequest(randomUUID(), async () => "", { freshMs: 10_000 });
      const { entry } = await first.cache.getOrLoad(request);
      return entry.freshUntilMs - (entry.startedAtMs ?? Number.NaN);
    }),
  );
  expect(Math.max(...lifetimes)).toBeLessThanOrEqual(10_000);
  expect(Math.min(...lifetimes)).toBeGreaterThanOrEqual(9_000);
  expect(Math.max(...lifetimes) - Math.min(...lifetimes)).toBeGreaterThan(500);
});

test("an invalidation of all tags by a job reaches its own process and the others", async () => {
  const { first, second } = await openReplicas();
  for (const worker of [first, second]) {
    const row = createRow("tea");
    const request = createRequest(randomUUID(), row.load);
    for (const replica of [first, second]) await replica.cache.getOrLoad(request);
    row.value = "coffee";
    await worker.bus.ensureInvalidated([ALL_TAGS], newGeneration());
    expect(await read(worker, request)).toBe("coffee");
    await expect
      .poll(async () => [await read(first, request), await read(second, request)])
      .toEqual(["coffee", "coffee"]);
  }
});

test("bytes in Redis that cannot be decoded are replaced by a newly loaded entry", async () => {
  const { first, second } = await openReplicas();
  const request = createRequest(randomUUID(), createRow("tea").load, {
    decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
    encode: (value) => Buffer.from(JSON.stringify(value)),
  });
  await first.cache.getOrLoad(request);
  const redisKey = await waitUntilStored(first, request.key);
  const { client } = first.redis;
  const stored = await client.getBuffer(redisKey);
  await client.set(redisKey, Buffer.concat([stored?.subarray(0, -5) ?? Buffer.alloc(0), Buffer.from("?")]));
  const result = await second.cache.getOrLoad(request);
  expect([result.state, textOf(result)]).toEqual(["miss", "tea"]);
  await expect.poll(async () => (await client.getBuffer(redisKey))?.includes('"tea"')).toBe(true);
});

test("an entry without a decoder is cached by each process alone", async () => {
  const { first, second } = await openReplicas();
  const row = createRow("tea");
  const { decode: _, ...request } = createRequest(randomUUID(), row.load);
  for (const { cache } of [first, second]) {
    expect((await cache.getOrLoad(request)).state).toBe("miss");
    expect((await cache.getOrLoad(request)).state).toBe("memory");
  }
  expect(await first.redis.client.keys(`*entry:${request.key}`)).toEqual([]);
  row.value = "coffee";
  await first.invalidate(request.key);
  expect(await read(first, request)).toBe("coffee");
  await expect.poll(() => read(second, request)).toBe("coffee");
});
