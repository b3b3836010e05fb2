import { setTimeout as sleep } from "node:timers/promises";
import type { CacheClock } from "./cache-clock.ts";
import { type CacheRequest, createEntry, type Entry } from "./cache-entry.ts";
import type { CacheCounters } from "./cache-stats.ts";
import type { Generation, RedisEntry, RedisTier } from "./redis-tier.ts";

/** The result of a lookup: the entry, or the state that is needed to store a loaded one. */
export interface RedisLookupResult<T> {
  entry?: Entry<T>;
  /** The generations of the tags before the load. Without them the entry must not be stored in Redis. */
  generations?: readonly Generation[] | undefined;
  /** Whether this process holds the lock of the entry; false: another one does, and did not load it in time. */
  isFirst?: boolean;
}

/** Time limit for an entry that another process loads, and the interval between lookups, in milliseconds. */
const LOCK_WAIT_MS = 50;
const LOCK_POLL_MS = 10;
/** After a command that failed after SLOW_MS, Redis is not used for COOLDOWN_MS, so that calls do not wait for it. */
const SLOW_MS = 25;
const COOLDOWN_MS = 200;

/** Finds and stores the entries of one cache in Redis. Failures of Redis are counted and never thrown. */
export class RedisCacheStore<T> {
  readonly #redisTier: RedisTier;
  readonly #counters: CacheCounters;
  readonly #clock: CacheClock;
  #cooldownUntilMs = 0;

  constructor(redisTier: RedisTier, counters: CacheCounters, clock: CacheClock) {
    this.#redisTier = redisTier;
    this.#counters = counters;
    this.#clock = clock;
  }

  /**
   * Finds the entry. If there is none, the first process to notice loads it, and the others wait for it for up
   * to LOCK_WAIT_MS.
   * @param isRefresh whether expired entries are ignored although they could still be returned
   */
  async find(request: CacheRequest<T>, version: number, isRefresh: boolean): Promise<RedisLookupResult<T>> {
    const { key, tags } = request;
    if (request.decode === undefined) return {};
    const deadlineMs = this.#clock.monotonicMs() + LOCK_WAIT_MS;
    for (let isFirst: boolean | undefined; ; await sleep(LOCK_POLL_MS)) {
      const read = await this.#attempt(() => this.#redisTier.read(key, tags));
      const entry = read?.entry && this.#decode(request, read.entry, version);
      if (
        entry !== undefined &&
        (isRefresh ? entry.freshUntilMs : entry.staleUntilMs) > this.#clock.wallMs()
      ) {
        return { entry };
      }
      isFirst ??= read === undefined || (await this.#attempt(() => this.#redisTier.tryLock(key))) !== false;
      if (isFirst || this.#clock.monotonicMs() >= deadlineMs)
        return { generations: read?.generations, isFirst };
    }
  }

  /**
   * Stores a loaded entry and releases the lock.
   * @param payload the encoded value; undefined for a `not_found` error, which is not stored
   */
  async store(
    { key, freshMs, staleMs }: CacheRequest<T>,
    { loadedAtMs }: Entry<T>,
    payload: Uint8Array | undefined,
    { generations, isFirst }: RedisLookupResult<T>,
  ): Promise<void> {
    if (payload !== undefined && generations !== undefined) {
      const ttlMs = freshMs + staleMs;
      await this.#attempt(() => this.#redisTier.write(key, generations, { loadedAtMs, payload }, ttlMs));
    }
    if (isFirst === true) await this.#attempt(() => this.#redisTier.unlock(key));
  }

  /** Decodes an entry. Returns undefined for bytes that another program may have written; they are replaced. */
  #decode(
    request: CacheRequest<T>,
    { loadedAtMs, payload }: RedisEntry,
    version: number,
  ): Entry<T> | undefined {
    try {
      const value = request.decode?.(payload);
      return value === undefined ? undefined : createEntry(request, value, payload, { version, loadedAtMs });
    } catch {
      this.#counters.redisFailures += 1;
      return undefined;
    }
  }

  /**
   * Runs a command, except during a cooldown.
   * @returns undefined if it was not run or failed
   */
  async #attempt<R>(command: () => Promise<R>): Promise<R | undefined> {
    const startedAtMs = this.#clock.monotonicMs();
    if (startedAtMs < this.#cooldownUntilMs) return undefined;
    try {
      return await command();
    } catch {
      this.#counters.redisFailures += 1;
      const nowMs = this.#clock.monotonicMs();
      if (nowMs - startedAtMs >= SLOW_MS) this.#cooldownUntilMs = nowMs + COOLDOWN_MS;
      return undefined;
    }
  }
}
