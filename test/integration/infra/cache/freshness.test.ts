import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, inject, test } from "vitest";
import { LEASE_MS } from "../../../../src/infra/cache/lease-monitor.ts";
import { type Client, checkFreshness } from "../../../support/cache/freshness.ts";
import { NaiveCache } from "../../../support/cache/naive-cache.ts";
import { openReplicas, type Replica } from "../../../support/cache/replica.ts";
import { cacheClientOf, SlowRows } from "../../../support/cache/slow-rows.ts";

const replicas = () => openReplicas([inject("redisUrl"), inject("redisUrl")]);
const close = (opened: readonly Replica[]) => Promise.all(opened.map((replica) => replica.close()));

/** Hot rows, written every few milliseconds at either door. */
const traffic = (doors: readonly Client[]) => ({
  ...{ clients: doors, rows: 5, reads: 5_000, writes: 150, readers: 50, delayMs: LEASE_MS },
  // Now and then a row rests for as long as it takes to be kept everywhere.
  restMs: () => (Math.random() < 0.8 ? Math.random() * 10 : Math.random() * 200),
});

const LIMIT_MS = 60_000;

test(
  "no read is older than the last write that was acknowledged before it, in either of two processes",
  async () => {
    const opened = await replicas();
    for (const maxMs of [0, 4, 30]) {
      const rows = new SlowRows(maxMs);
      const { stale } = await checkFreshness(traffic(opened.map((replica) => cacheClientOf(replica, rows))));
      expect(stale.slice(0, 5)).toEqual([]);
      // The next rows are others.
      for (let row = 0; row < 5; row += 1) await opened[0]?.write(`row ${row}`);
    }
    const stats = opened.map(({ cache }) => cache.stats());
    // All of its ways were gone.
    for (const tier of ["memoryHits", "redisHits", "misses", "coalesced", "fencedFills"] as const) {
      expect(stats.reduce((sum, one) => sum + one[tier], 0)).toBeGreaterThan(0);
    }
    await close(opened);
  },
  LIMIT_MS,
);

test("cache-aside that deletes after the write and keeps what it read does not pass that", async () => {
  const redis = new Redis(inject("redisUrl"));
  const rows = new SlowRows(4);
  const cache = new NaiveCache(redis, randomUUID());
  const door: Client = {
    read: async (row) => Number(await cache.find(String(row), () => rows.read(row))),
    async write(row, version) {
      await rows.write(row, version);
      await cache.invalidate(String(row));
    },
  };
  const doors = [door, door];
  const { stale } = await checkFreshness(traffic(doors));
  expect(stale.length).toBeGreaterThan(10);
  redis.disconnect();
});

test("two shops on one Redis never meet", async () => {
  const [[one], [other]] = await Promise.all([replicas(), replicas()]);
  if (one === undefined || other === undefined) throw new Error("they were not opened");
  const ask = (value: string) => ({
    ...{ key: "same", tags: ["same"], freshMs: 60_000, staleMs: 0 },
    load: async () => value,
    encode: (text: string) => Buffer.from(text),
    decode: (bytes: Uint8Array) => Buffer.from(bytes).toString(),
  });
  for (let round = 0; round < 3; round += 1) {
    expect((await one.cache.getOrLoad(ask("one"))).entry.outcome).toEqual({ value: "one" });
    expect((await other.cache.getOrLoad(ask("other"))).entry.outcome).toEqual({ value: "other" });
  }
  await close([one, other]);
});
