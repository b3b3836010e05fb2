import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Cache, type CacheRequest, type CacheResult } from "../../../src/infra/cache/cache.ts";
import { InvalidationBus } from "../../../src/infra/cache/invalidation-bus.ts";
import { newGeneration } from "../../../src/infra/cache/redis-tier.ts";
import { openRedis, type RedisConnection } from "../../../src/infra/redis/redis.ts";
import { silentLog } from "../log.ts";

/** One process of a shop, as far as its cache goes: answers are strings. */
export interface Replica {
  cache: Cache<string>;
  bus: InvalidationBus;
  redis: RedisConnection;
  /** How often it did not trust its cache, which a busy machine brings about too. */
  falls(): number;
  /** What a writer does after its commit. @returns whether Redis knows of it */
  write(...tags: string[]): Promise<boolean>;
  close(): Promise<void>;
}

/** Waits until the replica relies on what it keeps, and keeps it in Redis too. */
export async function untilLive({ cache, redis }: Replica): Promise<void> {
  for (;;) {
    const key = `probe ${randomUUID()}`;
    const { state } = await cache.getOrLoad(cacheRequest(key, async () => ""));
    await sleep(20);
    if (state !== "bypass" && (await redis.client.keys(`*${key}`).catch(() => [])).length > 0) return;
  }
}

/** Connects replicas of one shop to a Redis, and waits until they rely on it. */
export async function openReplicas(urls: readonly string[], maxBytes = 1_000_000): Promise<Replica[]> {
  const namespace = randomUUID();
  const replicas = urls.map((url) => openReplica(url, namespace, maxBytes));
  await Promise.all(replicas.map(untilLive));
  return replicas;
}

/** Connects one, and does not wait. */
export function openReplica(url: string, namespace: string, maxBytes = 1_000_000): Replica {
  let falls = 0;
  const warn = () => {
    falls += 1;
  };
  const redis = openRedis(url, silentLog);
  const bus = new InvalidationBus({
    redis: redis.client,
    namespace,
    log: { ...silentLog, warn },
  });
  const cache = new Cache<string>({ bus, maxBytes });
  return {
    cache,
    bus,
    redis,
    falls: () => falls,
    write: (...tags) => bus.invalidate(tags, newGeneration()),
    async close() {
      bus.close();
      await redis.close();
    },
  };
}

/** Something to ask for: with the key as its one tag, and fresh for a minute, unless said otherwise. */
export function cacheRequest(
  key: string,
  load: () => Promise<string>,
  more: Partial<CacheRequest<string>> = {},
): CacheRequest<string> {
  return {
    ...{ key, tags: [key], freshMs: 60_000, staleMs: 0, load },
    encode: (value) => Buffer.from(value),
    decode: (bytes) => Buffer.from(bytes).toString(),
    ...more,
  };
}

/** What was found: the value, or the error as a string. */
export function resultOf({ entry: { outcome } }: CacheResult<string>): string {
  return "error" in outcome ? String(outcome.error) : outcome.value;
}

/**
 * Runs a scenario whose steps must be answered by certain tiers. A machine that is busy may keep Redis from
 * answering in time, which is right to distrust and no part of the scenario: it is then run anew, after the
 * second for which a slow Redis is left alone.
 */
export async function undisturbed(
  replicas: readonly Replica[],
  scenario: () => Promise<void>,
): Promise<void> {
  const troubles = () =>
    replicas.reduce((sum, { cache, falls }) => sum + falls() + cache.stats().redisFailures, 0);
  for (let left = 8; ; left -= 1) {
    await Promise.all(replicas.map(untilLive));
    const before = troubles();
    try {
      return await scenario();
    } catch (error) {
      if (troubles() === before || left === 0) throw error;
      await sleep(1_100);
    }
  }
}

/** Lets the event loop turn. */
export const turn = () => sleep(1);

/** A promise and its resolver: what is waiting until the test says so. */
export const gate = () => Promise.withResolvers<void>();
