import { randomUUID } from "node:crypto";
import { expect, inject, onTestFinished } from "vitest";
import { Cache, type CacheRequest, type CacheResult } from "../../../src/infra/cache/cache.ts";
import { type CacheClock, systemCacheClock } from "../../../src/infra/cache/cache-clock.ts";
import { LEASE_MS } from "../../../src/infra/cache/invalidation/lease-monitor.ts";
import { InvalidationBus } from "../../../src/infra/cache/invalidation-bus.ts";
import { newGeneration } from "../../../src/infra/cache/redis-tier.ts";
import { openRedis, type RedisConnection } from "../../../src/infra/redis/redis.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { silentLog } from "../log.ts";

/** The cache of one replica, with its connection to Redis. Values are strings. */
export interface Replica {
  cache: Cache<string>;
  bus: InvalidationBus;
  redis: RedisConnection;
  /** Invalidates as a writer does after its commit. @returns whether Redis accepted it */
  invalidate(...tags: string[]): Promise<boolean>;
  close(): Promise<void>;
}

export interface ReplicaOptions {
  namespace?: string;
  maxBytes?: number;
  clock?: CacheClock | StoppedClock;
  commandTimeoutMs?: number;
  /** Receives the lines of the bus. */
  log?: Log;
}

/** Starts to connect a replica, which is closed when the test is finished. */
export function openReplica(url: string, options: ReplicaOptions = {}): Replica {
  const { namespace = randomUUID(), maxBytes = 1_000_000, clock = systemCacheClock } = options;
  const redis = openRedis(url, silentLog, options.commandTimeoutMs);
  const bus = new InvalidationBus({ redis: redis.client, namespace, log: options.log ?? silentLog, clock });
  const cache = new Cache<string>({ bus, maxBytes });
  const close = async () => {
    await bus.close();
    await redis.close();
  };
  onTestFinished(close);
  return { cache, bus, redis, invalidate: (...tags) => bus.invalidate(tags, newGeneration()), close };
}

/** Connects two replicas and waits until both use Redis. */
export async function openTwoReplicas(
  [first, second]: [string, string] = [inject("redisUrl"), inject("redisUrl")],
  options: ReplicaOptions = {},
): Promise<[Replica, Replica]> {
  const shared = { namespace: randomUUID(), ...options };
  const replicas: [Replica, Replica] = [openReplica(first, shared), openReplica(second, shared)];
  await Promise.all(replicas.map(waitUntilUsed));
  const { clock } = options;
  if (clock !== undefined && "advance" in clock) {
    // From then on writes wait for acknowledgements only: no replica can hold a lease that the others do not know.
    clock.advance(LEASE_MS + 1);
    await expect.poll(() => replicas.every(({ bus }) => bus.lease.isHeld), { interval: 5 }).toBe(true);
  }
  return replicas;
}

/** Waits until the replica stores in Redis what it loads. */
export async function waitUntilUsed({ cache, redis }: Replica): Promise<void> {
  await expect
    .poll(
      async () => {
        const key = `probe ${randomUUID()}`;
        const { state } = await cache.getOrLoad(createRequest(key, async () => ""));
        if (state === "bypass") return false;
        // The entry is stored in the background.
        await new Promise((resolve) => setImmediate(resolve));
        return (await redis.client.keys(`*${key}`).catch(() => [])).length > 0;
      },
      { timeout: 30_000, interval: 20 },
    )
    .toBe(true);
}

/** A clock that only the test advances: leases and waits never end by themselves. */
export interface StoppedClock extends CacheClock {
  advance(ms: number): void;
}

export function createStoppedClock(): StoppedClock {
  let elapsedMs = 0;
  const startMs = Date.now();
  const timers = new Map<() => void, number>();
  return {
    wallMs: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    schedule(ms, callback) {
      const run = () => callback();
      timers.set(run, elapsedMs + ms);
      return () => timers.delete(run);
    },
    advance(ms) {
      elapsedMs += ms;
      for (const [run, dueAtMs] of [...timers]) {
        if (dueAtMs <= elapsedMs && timers.delete(run)) run();
      }
    },
  };
}

const LOCK_WAIT_MS = 50;

/** Ends the time for which calls that have been made wait for another process's load. */
export async function endLockWait(clock: StoppedClock): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(LOCK_WAIT_MS);
}

/**
 * Options under which the tier that returns an entry does not depend on how busy the machine is: the clock is
 * stopped and responses of Redis may take long.
 */
export function createUndisturbedOptions(): { clock: StoppedClock; commandTimeoutMs: number } {
  return { clock: createStoppedClock(), commandTimeoutMs: 30_000 };
}

/** Returns a request whose only tag is the key, fresh for a minute unless overridden. */
export function createRequest(
  key: string,
  load: () => Promise<string>,
  overrides: Partial<CacheRequest<string>> = {},
): CacheRequest<string> {
  return {
    key,
    tags: [key],
    freshMs: 60_000,
    staleMs: 0,
    load,
    encode: (value) => Buffer.from(value),
    decode: (bytes) => Buffer.from(bytes).toString(),
    ...overrides,
  };
}

/** Returns the value of a result, or its error as text. */
export function textOf({ entry: { outcome } }: CacheResult<string>): string {
  return "error" in outcome ? String(outcome.error) : outcome.value;
}

/** Waits until an entry is stored in Redis, which happens in the background. */
export async function waitUntilStored({ redis }: Replica, key: string): Promise<string> {
  await expect.poll(() => redis.client.keys(`*entry:${key}`), { timeout: 30_000 }).toHaveLength(1);
  const [redisKey = ""] = await redis.client.keys(`*entry:${key}`);
  return redisKey;
}

/** A load that waits until the test completes it. */
export interface ControlledLoad {
  load(): Promise<string>;
  /** Resolves when the load has started. */
  started: Promise<void>;
  /** How often it has started. */
  count(): number;
  complete(): void;
}

export function createControlledLoad(result: () => string): ControlledLoad {
  const started = Promise.withResolvers<void>();
  const completed = Promise.withResolvers<void>();
  let count = 0;
  return {
    started: started.promise,
    count: () => count,
    complete: () => completed.resolve(),
    async load() {
      count += 1;
      started.resolve();
      await completed.promise;
      return result();
    },
  };
}
