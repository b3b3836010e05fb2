import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { expect, inject, onTestFinished, test } from "vitest";
import type { CacheStats } from "../../../../src/infra/cache/cache.ts";
import { type Client, checkFreshness } from "../../../support/cache/freshness.ts";
import { NaiveCache } from "../../../support/cache/naive-cache.ts";
import { createRequest, createUndisturbedOptions, openTwoReplicas } from "../../../support/cache/replica.ts";
import { createCacheClient, SlowRows } from "../../../support/cache/slow-rows.ts";

const TIMEOUT_MS = 120_000;

/** Traffic on few rows that are written every few milliseconds through all clients. */
const createTraffic = (clients: readonly Client[]) => ({
  clients,
  rows: 5,
  reads: 5_000,
  writes: 150,
  concurrency: 50,
  // Some pauses are long enough for an entry to reach both tiers of both replicas.
  pauseMs: () => (Math.random() < 0.8 ? Math.random() * 10 : Math.random() * 200),
});

test("no read in either of two replicas is older than the last write acknowledged before it", {
  timeout: TIMEOUT_MS,
}, async () => {
  const stats: CacheStats[] = [];
  for (const maxMs of [0, 4, 30]) {
    const rows = new SlowRows(maxMs);
    const replicas = await openTwoReplicas();
    const { stale } = await checkFreshness(
      createTraffic(replicas.map((one) => createCacheClient(one, rows))),
    );
    expect(stale.slice(0, 5)).toEqual([]);
    stats.push(...replicas.map(({ cache }) => cache.stats()));
  }
  // The traffic has used every path of the cache.
  for (const path of ["memoryHits", "redisHits", "misses", "coalesced", "fencedFills"] as const) {
    expect(
      stats.reduce((sum, one) => sum + one[path], 0),
      path,
    ).toBeGreaterThan(0);
  }
});

test("a plain cache-aside returns stale reads", { timeout: TIMEOUT_MS }, async () => {
  const redis = new Redis(inject("redisUrl"));
  onTestFinished(() => redis.disconnect());
  const rows = new SlowRows(4);
  const cache = new NaiveCache(redis, randomUUID());
  const client: Client = {
    read: async (row) => Number(await cache.getOrLoad(String(row), () => rows.read(row))),
    async write(row, version) {
      await rows.write(row, version);
      await cache.invalidate(String(row));
    },
  };
  const { stale } = await checkFreshness(createTraffic([client, client]));
  expect(stale.length).toBeGreaterThan(10);
});

test("caches with different namespaces on one Redis do not share entries", async () => {
  const [[one], [other]] = await Promise.all([
    openTwoReplicas(undefined, createUndisturbedOptions()),
    openTwoReplicas(undefined, createUndisturbedOptions()),
  ]);
  const request = (value: string) => createRequest("same key", async () => value);
  for (let round = 0; round < 3; round += 1) {
    expect((await one.cache.getOrLoad(request("one"))).entry.outcome).toEqual({ value: "one" });
    expect((await other.cache.getOrLoad(request("other"))).entry.outcome).toEqual({ value: "other" });
  }
});
