import { AppError } from "../../kernel/errors.ts";
import type { CacheClock } from "./cache-clock.ts";
import {
  type CacheRequest,
  createEntry,
  createNegativeEntry,
  type Entry,
  limitLifetime,
} from "./cache-entry.ts";
import { type CacheStats, createCacheCounters } from "./cache-stats.ts";
import { LEASE_MS, type LeaseMonitor } from "./invalidation/lease-monitor.ts";
import type { InvalidationBus } from "./invalidation-bus.ts";
import { MemoryTier } from "./memory-tier.ts";
import { RedisCacheStore } from "./redis-cache-store.ts";
import { type Flight, SingleFlight } from "./single-flight.ts";
import type { TagVersions } from "./tag-versions.ts";

export type { CacheRequest, CacheStats };

/** An entry and its source. `miss`: it was loaded; `bypass`: it was loaded without using either tier. */
export interface CacheResult<T> {
  state: "memory" | "redis" | "miss" | "bypass";
  entry: Entry<T>;
}

/** What a cache needs of the bus. */
export type CacheBus = Pick<
  InvalidationBus,
  "redisTier" | "tagVersions" | "clock" | "onInvalidateAll" | "waitForEarlierInvalidations"
> & { readonly lease: CacheLease };

type CacheLease = Pick<LeaseMonitor, "isHeld" | "isUp" | "waitUntilHeld">;

export interface CacheOptions {
  /** Invalidates the entries. All caches of a process share one. */
  bus: CacheBus;
  /** Maximum of the estimated size of the entries in memory. */
  maxBytes: number;
}

/**
 * A read-through cache of two tiers: the memory of this process, and Redis. It never returns a value older than
 * the last write that was acknowledged before the call, by any process.
 *
 * A change whose invalidation is throttled may be missing for THROTTLE_MS after its acknowledgement. Values that may lack
 * such changes, because a tag of theirs had a throttled invalidation recently or since their load, are used until
 * THROTTLE_MS after their load has started, and only by the process that loaded them.
 */
export class Cache<T> {
  readonly #memory: MemoryTier<T>;
  readonly #redis: RedisCacheStore<T>;
  readonly #flights: SingleFlight<CacheResult<T>>;
  readonly #tagVersions: TagVersions;
  readonly #lease: CacheLease;
  readonly #counters = createCacheCounters();
  readonly #clock: CacheClock;

  constructor({ bus, maxBytes }: CacheOptions) {
    this.#memory = new MemoryTier(maxBytes);
    this.#redis = new RedisCacheStore(bus, this.#counters);
    this.#tagVersions = bus.tagVersions;
    this.#lease = bus.lease;
    this.#clock = bus.clock;
    this.#flights = new SingleFlight(bus.clock);
    bus.onInvalidateAll(() => this.#memory.clear());
  }

  /**
   * Returns the cached value, or loads it. Returns synchronously what is in memory.
   * @throws what `load` throws, except AppErrors `not_found`, which are cached and returned as entries
   */
  getOrLoad(request: CacheRequest<T>): CacheResult<T> | Promise<CacheResult<T>> {
    return (this.#lease.isHeld && this.#readMemory(request)) || this.#getOrLoadAsync(request);
  }

  stats(): CacheStats {
    return { ...this.#counters, entries: this.#memory.entries, bytes: this.#memory.bytes };
  }

  /** Returns the entry in memory if it may be used. To be called only while the lease is held. */
  #readMemory(request: CacheRequest<T>): CacheResult<T> | undefined {
    const entry = this.#memory.get(request.key);
    if (entry === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isUsable(entry, nowMs)) return undefined;
    if (nowMs >= entry.freshUntilMs) {
      this.#counters.staleHits += 1;
      // Not awaited: the next call finds the new entry, or loads it itself and throws the error.
      this.#joinOrLoad(request, nowMs, true).result.catch(() => {});
    }
    if ("error" in entry.outcome) this.#counters.negativeHits += 1;
    else this.#counters.memoryHits += 1;
    return { state: "memory", entry };
  }

  /** Returns whether a call that starts now may use the entry. */
  #isUsable(entry: Entry<T>, nowMs: number): boolean {
    const { current } = this.#tagVersions;
    if (entry.version !== current) {
      if (!this.#tagVersions.isCurrent(entry.tags, entry.version)) return false;
      if (this.#tagVersions.isThrottledSince(entry.tags, entry.version)) limitLifetime(entry);
      // The tags are looked up once for all calls between two invalidations.
      entry.version = current;
    }
    return nowMs < entry.staleUntilMs;
  }

  async #getOrLoadAsync(request: CacheRequest<T>): Promise<CacheResult<T>> {
    const calledAtMs = this.#clock.monotonicMs();
    const found = (await this.#lease.waitUntilHeld()) && this.#readMemory(request);
    if (found) return found;
    const current = this.#flights.get(request.key);
    // Without the lease there is one load at a time: all calls that have waited for it share the next one.
    if (current !== undefined && !this.#lease.isHeld && current.startedAtMs < calledAtMs) {
      await this.#flights.waitForEnd(current, LEASE_MS);
    }
    const flight = this.#joinOrLoad(request, calledAtMs, false);
    const result = await flight.result;
    if (flight.startedAtMs >= calledAtMs || this.#isUsable(result.entry, this.#clock.monotonicMs()))
      return result;
    // The load started before the call, and a tag that was not known then had been invalidated, or it took too long.
    return this.#joinOrLoadLater(request, calledAtMs).result;
  }

  /**
   * Returns whether a call may join a load: it started after the call, or no write was acknowledged in between. While
   * the lease is held, this process has received the invalidations of all such writes.
   */
  #mayJoin({ tags }: CacheRequest<T>, flight: Flight<CacheResult<T>>, calledAtMs: number): boolean {
    const isRecent = flight.startedAtMs >= calledAtMs || this.#lease.isHeld;
    return isRecent && this.#tagVersions.isCurrent(tags, flight.version);
  }

  /** Joins a load in progress if it may; starts one otherwise. */
  #joinOrLoad(request: CacheRequest<T>, calledAtMs: number, isRefresh: boolean): Flight<CacheResult<T>> {
    const current = this.#flights.get(request.key);
    if (current !== undefined && this.#mayJoin(request, current, calledAtMs)) {
      if (!isRefresh) this.#counters.coalesced += 1;
      return current;
    }
    return this.#startLoad(request, isRefresh);
  }

  /** Joins a load that started after the call; starts one otherwise. */
  #joinOrLoadLater(request: CacheRequest<T>, calledAtMs: number): Flight<CacheResult<T>> {
    const current = this.#flights.get(request.key);
    return current !== undefined && current.startedAtMs >= calledAtMs
      ? current
      : this.#startLoad(request, false);
  }

  #startLoad(request: CacheRequest<T>, isRefresh: boolean): Flight<CacheResult<T>> {
    const version = this.#tagVersions.current;
    return this.#flights.start(request.key, version, () => this.#fetch(request, version, isRefresh));
  }

  async #fetch(request: CacheRequest<T>, version: number, isRefresh: boolean): Promise<CacheResult<T>> {
    if (!this.#lease.isUp) {
      this.#counters.bypasses += 1;
      return { state: "bypass", entry: (await this.#load(request, version)).entry };
    }
    // Redis has no entries that may lack throttled changes.
    const tags = this.#memory.get(request.key)?.tags ?? request.tags;
    const isUnshared = this.#tagVersions.mayLackChanges(tags, this.#clock.monotonicMs());
    const lookup = isUnshared ? {} : await this.#redis.find(request, version, isRefresh);
    if (lookup.entry !== undefined) {
      this.#counters.redisHits += 1;
      this.#store(request.key, lookup.entry);
      return { state: "redis", entry: lookup.entry };
    }
    this.#counters.misses += 1;
    const { entry, payload } = await this.#load(request, version);
    this.#store(request.key, entry);
    void this.#redis.store(request, entry, payload, lookup);
    return { state: "miss", entry };
  }

  async #load(request: CacheRequest<T>, version: number): Promise<{ entry: Entry<T>; payload?: Uint8Array }> {
    const start = { version, startedAtMs: this.#clock.monotonicMs(), loadedAtMs: this.#clock.wallMs() };
    try {
      const value = await request.load();
      const payload = request.encode(value);
      return { entry: createEntry(request, value, payload, start), payload };
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "not_found") throw error;
      return { entry: createNegativeEntry(request, error, { ...start, nowMs: this.#clock.monotonicMs() }) };
    }
  }

  #store(key: string, entry: Entry<T>): void {
    if (!this.#lease.isUp || !this.#tagVersions.isCurrent(entry.tags, entry.version)) {
      this.#counters.fencedFills += 1;
      return;
    }
    const startedAtMs = entry.startedAtMs ?? this.#clock.monotonicMs();
    if (this.#tagVersions.mayLackChanges(entry.tags, startedAtMs)) limitLifetime(entry);
    this.#counters.fills += 1;
    this.#memory.set(key, entry);
  }
}
