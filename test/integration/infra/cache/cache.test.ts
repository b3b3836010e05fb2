import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from "vitest";
import { ALL_TAGS, newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  cacheRequest,
  gate,
  openReplicas,
  type Replica,
  resultOf,
  turn,
  undisturbed,
} from "../../../support/cache/replica.ts";

let replicas: Replica[];
let [one, two]: Replica[] = [];
beforeAll(async () => {
  replicas = await openReplicas([inject("redisUrl"), inject("redisUrl")]);
  [one, two] = replicas;
});
afterAll(() => Promise.all(replicas.map((replica) => replica.close())));
afterEach(() => void vi.useRealTimers());

/** The two replicas, which are there. */
function both(): [Replica, Replica] {
  if (one === undefined || two === undefined) throw new Error("they were not opened");
  return [one, two];
}

/** A value in a database that counts its reads. */
function stored(value: string) {
  const row = { value, reads: 0, load };
  async function load(): Promise<string> {
    row.reads += 1;
    return row.value;
  }
  return row;
}

const absent = () => new AppError("not_found", "There is none.", { reason: "PRODUCT_NOT_FOUND" });

test("an answer is made once, then comes from memory, and in another process from Redis and then memory", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const row = stored("tea");
    const ask = cacheRequest(randomUUID(), row.load);
    const made = await a.cache.getOrLoad(ask);
    expect([made.state, (await a.cache.getOrLoad(ask)).state]).toEqual(["miss", "memory"]);
    await vi.waitFor(async () => expect(await a.redis.client.keys(`*entry:${ask.key}`)).toHaveLength(1));
    const shared = await b.cache.getOrLoad(ask);
    expect([shared.state, (await b.cache.getOrLoad(ask)).state]).toEqual(["redis", "memory"]);
    expect([resultOf(shared), shared.entry.etag, shared.entry.loadedAtMs]).toEqual([
      "tea",
      made.entry.etag,
      made.entry.loadedAtMs,
    ]);
    expect(row.reads).toBe(1);
  }));

test("a write is seen at once where it was made, and by the others within their lease", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const row = stored("old");
    const ask = cacheRequest(randomUUID(), row.load);
    await a.cache.getOrLoad(ask);
    await b.cache.getOrLoad(ask);
    row.value = "new";
    expect(await a.write(ask.key)).toBe(true);
    expect(resultOf(await a.cache.getOrLoad(ask))).toBe("new");
    await vi.waitFor(async () => expect(resultOf(await b.cache.getOrLoad(ask))).toBe("new"));
  }));

test("tags mean the same in upper case", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const row = stored("old");
    const key = randomUUID();
    const ask = cacheRequest(key, row.load, { tags: [`sku:${key}`] });
    await a.cache.getOrLoad(ask);
    await b.cache.getOrLoad(ask);
    row.value = "new";
    await a.write(`sku:${key.toUpperCase()}`);
    expect(resultOf(await a.cache.getOrLoad(ask))).toBe("new");
    await vi.waitFor(async () => expect(resultOf(await b.cache.getOrLoad(ask))).toBe("new"));
  }));

test("an answer that a write has overtaken is given to those who asked before it, and kept nowhere", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const key = randomUUID();
    const [begun, go] = [gate(), gate()];
    const slow = cacheRequest(key, async () => {
      begun.resolve();
      await go.promise;
      return "old";
    });
    const before = a.cache.stats().fencedFills;
    const early = a.cache.getOrLoad(slow);
    await begun.promise;
    await a.write(key);
    const quick = cacheRequest(key, async () => "new");
    // Whoever comes after the write does not wait for what was begun before it.
    expect(resultOf(await a.cache.getOrLoad(quick))).toBe("new");
    go.resolve();
    expect(resultOf(await early)).toBe("old");
    expect(a.cache.stats().fencedFills).toBe(before + 1);
    await turn();
    expect(resultOf(await a.cache.getOrLoad(quick))).toBe("new");
    expect(resultOf(await b.cache.getOrLoad(quick))).toBe("new");
  }));

test("an answer that another process's write has overtaken is kept nowhere", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const key = randomUUID();
    const [begun, go] = [gate(), gate()];
    const early = a.cache.getOrLoad(
      cacheRequest(key, async () => {
        begun.resolve();
        await go.promise;
        return "old";
      }),
    );
    await begun.promise;
    await b.write(key);
    go.resolve();
    await early;
    const quick = cacheRequest(key, async () => "new");
    await vi.waitFor(async () => expect(resultOf(await a.cache.getOrLoad(quick))).toBe("new"));
    expect(resultOf(await b.cache.getOrLoad(quick))).toBe("new");
  }));

test("that there is none is believed for 5 seconds or until a write, by its process alone", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    vi.useFakeTimers({ toFake: ["Date"] });
    const key = randomUUID();
    let reads = 0;
    const none = cacheRequest(key, async () => {
      reads += 1;
      throw absent();
    });
    expect([(await a.cache.getOrLoad(none)).state, (await a.cache.getOrLoad(none)).state]).toEqual([
      "miss",
      "memory",
    ]);
    expect(resultOf(await a.cache.getOrLoad(none))).toContain("There is none.");
    expect((await b.cache.getOrLoad(none)).state).toBe("miss");
    expect(reads).toBe(2);
    vi.advanceTimersByTime(5_001);
    expect((await a.cache.getOrLoad(none)).state).toBe("miss");
    const some = cacheRequest(key, async () => "some");
    expect((await a.cache.getOrLoad(some)).state).toBe("memory");
    await a.write(key);
    expect(resultOf(await a.cache.getOrLoad(some))).toBe("some");
    // And back: what was deleted is believed to be gone, though it was in memory before.
    await a.write(key);
    await a.cache.getOrLoad(none);
    expect((await a.cache.getOrLoad(none)).state).toBe("memory");
  }));

test("other errors are told to all who wait, and not kept", () =>
  undisturbed(replicas, async () => {
    const [a] = both();
    const go = gate();
    const ask = cacheRequest(randomUUID(), async () => {
      await go.promise;
      throw new AppError("unavailable", "Not now.", { reason: "DATABASE_BUSY" });
    });
    const calls = Array.from({ length: 5 }, async () => a.cache.getOrLoad(ask));
    go.resolve();
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    expect(resultOf(await a.cache.getOrLoad({ ...ask, load: async () => "well" }))).toBe("well");
  }));

test("an answer past its time is given while one new one is made, and not for longer than that may take", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    vi.useFakeTimers({ toFake: ["Date"] });
    const row = stored("old");
    const ask = cacheRequest(randomUUID(), row.load, { freshMs: 1_000, staleMs: 10_000 });
    await a.cache.getOrLoad(ask);
    await vi.waitFor(async () => expect(await a.redis.client.keys(`*entry:${ask.key}`)).toHaveLength(1));
    row.value = "new";
    vi.advanceTimersByTime(1_001);
    const states = await Promise.all(Array.from({ length: 20 }, async () => a.cache.getOrLoad(ask)));
    expect(new Set(states.map((found) => `${found.state} ${resultOf(found)}`))).toEqual(
      new Set(["memory old"]),
    );
    await vi.waitFor(async () => expect(resultOf(await a.cache.getOrLoad(ask))).toBe("new"));
    expect(row.reads).toBe(2);
    await vi.waitFor(async () => expect(resultOf(await b.cache.getOrLoad(ask))).toBe("new"));
    vi.advanceTimersByTime(11_001);
    row.value = "newest";
    expect(resultOf(await a.cache.getOrLoad(ask))).toBe("newest");
  }));

test("a write ends the time for which an answer may be given while a new one is made", () =>
  undisturbed(replicas, async () => {
    const [a] = both();
    vi.useFakeTimers({ toFake: ["Date"] });
    const row = stored("old");
    const ask = cacheRequest(randomUUID(), row.load, { freshMs: 1_000, staleMs: 10_000 });
    await a.cache.getOrLoad(ask);
    vi.advanceTimersByTime(1_001);
    row.value = "new";
    await a.write(ask.key);
    expect(resultOf(await a.cache.getOrLoad(ask))).toBe("new");
  }));

test("answers of one moment end at different ones, and none later than it may", () =>
  undisturbed(replicas, async () => {
    const [a] = both();
    const ages = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const { entry } = await a.cache.getOrLoad(
          cacheRequest(randomUUID(), async () => "", { freshMs: 10_000 }),
        );
        return entry.freshUntilMs - entry.loadedAtMs;
      }),
    );
    expect(Math.max(...ages)).toBeLessThanOrEqual(10_000);
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(9_000);
    expect(Math.max(...ages) - Math.min(...ages)).toBeGreaterThan(500);
  }));

test("the bump of everything that a job does is heard in its own process too", () =>
  undisturbed(replicas, async () => {
    for (const worker of both()) {
      const row = stored("tea");
      const ask = cacheRequest(randomUUID(), row.load);
      for (const replica of both()) await replica.cache.getOrLoad(ask);
      row.value = "coffee";
      await worker.bus.ensureInvalidated([ALL_TAGS], newGeneration());
      const [a, b] = both();
      expect(resultOf(await worker.cache.getOrLoad(ask))).toBe("coffee");
      await vi.waitFor(async () => {
        expect([resultOf(await a.cache.getOrLoad(ask)), resultOf(await b.cache.getOrLoad(ask))]).toEqual([
          "coffee",
          "coffee",
        ]);
      });
    }
  }));

test("what stands in Redis and cannot be read is no answer: a new one is made, and put in its place", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const ask = cacheRequest(randomUUID(), stored("tea").load, {
      decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
      encode: (value) => Buffer.from(JSON.stringify(value)),
    });
    await a.cache.getOrLoad(ask);
    const { client } = a.redis;
    await vi.waitFor(async () => expect(await client.keys(`*entry:${ask.key}`)).toHaveLength(1));
    const [key = ""] = await client.keys(`*entry:${ask.key}`);
    const kept = await client.getBuffer(key);
    await client.set(key, Buffer.concat([kept?.subarray(0, -5) ?? Buffer.alloc(0), Buffer.from("?")]));
    const found = await b.cache.getOrLoad(ask);
    expect([found.state, resultOf(found)]).toEqual(["miss", "tea"]);
    await vi.waitFor(async () => expect(await client.getBuffer(key)).not.toEqual(kept));
    await vi.waitFor(async () => expect((await client.getBuffer(key))?.includes('"tea"')).toBe(true));
  }));

test("an answer that cannot be read from Redis is kept by each process alone", () =>
  undisturbed(replicas, async () => {
    const [a, b] = both();
    const row = stored("tea");
    const { decode: _, ...ask } = cacheRequest(randomUUID(), row.load);
    for (const { cache } of both()) {
      expect((await cache.getOrLoad(ask)).state).toBe("miss");
      expect((await cache.getOrLoad(ask)).state).toBe("memory");
    }
    expect(await a.redis.client.keys(`*entry:${ask.key}`)).toEqual([]);
    row.value = "coffee";
    await a.write(ask.key);
    expect(resultOf(await a.cache.getOrLoad(ask))).toBe("coffee");
    await vi.waitFor(async () => expect(resultOf(await b.cache.getOrLoad(ask))).toBe("coffee"));
  }));
