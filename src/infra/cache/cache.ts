import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { AppError } from "../../kernel/errors.ts";
import { type CacheRequest, createEntry, createNegativeEntry, type Entry } from "./entry.ts";
import type { InvalidationBus } from "./invalidation-bus.ts";
import { LEASE_MS, type LeaseMonitor } from "./lease-monitor.ts";
import { ALL_TAGS, type Generation, type RedisEntry, type RedisTier } from "./redis-tier.ts";
import { type CacheStats, createCacheCounters } from "./stats.ts";
import type { TagVersions } from "./tag-versions.ts";

export type { CacheRequest, CacheStats };

/** An answer, and which tier it came from; `miss`: it was made, `bypass`: without asking either tier. */
export interface CacheResult<T> {
  state: "memory" | "redis" | "miss" | "bypass";
  entry: Entry<T>;
}

/** An answer in the making, and the tick of the tag log before it was begun. */
interface Flight<T> {
  since: number;
  startedAtMs: number;
  result: Promise<CacheResult<T>>;
}

/** What Redis has: an answer, or under which generations one is to be kept, and whether it is made here first. */
interface Look<T> {
  entry?: Entry<T>;
  generations?: readonly Generation[] | undefined;
  isFirst?: boolean;
}

export interface CacheOptions {
  /** Several caches of a process have the same: a write bumps the tags of all. */
  bus: InvalidationBus;
  /** How much memory answers may take. */
  maxBytes: number;
}

/** How long an answer that another process makes is waited for, and how often it is looked for, milliseconds. */
const LOCK_WAIT_MS = 50;
const LOCK_LOOK_MS = 10;
/** A Redis that fails after so long is left alone for a while, so that not each call waits for it, milliseconds. */
const SLOW_MS = 25;
const REST_MS = 200;
/**
 * How long and how often a writer tries at least to tell the others while Redis may still take it, and how long he
 * waits in between, milliseconds. When it is he who is too busy to hear the answers, the tries have arrived.
 */
const TELL_MS = 250;
const TELL_TRIES = 5;
const TELL_AGAIN_MS = 10;
/** The share of the memory for what does not exist: whoever asks for made-up ids drives out nothing else. */
const ABSENT_SHARE = 1 / 16;

/**
 * Answers, kept in two tiers: the memory of this process, and Redis. Nobody is given one that is older than
 * the last write that was acknowledged before he asked, but for what one process hears of another's writes
 * later, which is LEASE_MS at most.
 */
export class Cache<T> {
  readonly #memory: LRUCache<string, Entry<T>>;
  readonly #absent: LRUCache<string, Entry<T>>;
  readonly #flights = new Map<string, Flight<T>>();
  readonly #bus: InvalidationBus;
  readonly #tags: TagVersions;
  readonly #shared: RedisTier;
  readonly #link: LeaseMonitor;
  readonly #counters = createCacheCounters();
  #restUntilMs = 0;

  constructor({ bus, maxBytes }: CacheOptions) {
    const bounded = (maxSize: number) =>
      new LRUCache<string, Entry<T>>({ maxSize, sizeCalculation: ({ bytes }) => bytes });
    this.#memory = bounded(maxBytes * (1 - ABSENT_SHARE));
    this.#absent = bounded(maxBytes * ABSENT_SHARE);
    this.#bus = bus;
    this.#tags = bus.tagVersions;
    this.#shared = bus.redisTier;
    this.#link = bus.lease;
    bus.onInvalidateAll(() => {
      this.#memory.clear();
      this.#absent.clear();
    });
  }

  /**
   * The answer: a kept one, or a new one. It comes at once when it is in memory.
   * @throws whatever `load` throws, but for AppErrors `not_found`, which are answers too
   */
  getOrLoad(wanted: CacheRequest<T>): CacheResult<T> | Promise<CacheResult<T>> {
    return (this.#link.isHeld && this.#recall(wanted)) || this.#findSlowly(wanted);
  }

  /**
   * Drops all answers that are made of these tags, in this process and the others. Comes after the commit of
   * what has changed them, and before it is acknowledged. Tags mean the same in upper case.
   * @returns whether Redis knows of it. When it does not, what the others last heard from it is no longer good,
   * unless Redis is away for this process alone: then they learn it from `ensureInvalidated`.
   */
  async invalidate(tags: readonly string[], id: Generation): Promise<boolean> {
    const names = lowerCase(tags);
    const isTold = await this.#tell(names, id);
    // Only now: what this process found in Redis meanwhile may have been as old.
    this.#drop(names);
    this.#counters.invalidations += names.length;
    return isTold;
  }

  /** Does for certain what `invalidate` may have failed to do. @throws while Redis is away */
  async ensureInvalidated(tags: readonly string[], id: Generation): Promise<void> {
    if (await this.#shared.hasReceipt(id)) return;
    const names = lowerCase(tags);
    await this.#shared.invalidate(names, id);
    this.#drop(names);
  }

  stats(): CacheStats {
    return {
      ...this.#counters,
      entries: this.#memory.size + this.#absent.size,
      bytes: this.#memory.calculatedSize + this.#absent.calculatedSize,
    };
  }

  async #tell(tags: readonly string[], id: Generation): Promise<boolean> {
    const link = this.#link;
    const startedAtMs = performance.now();
    const isEarly = (tries: number) => tries < TELL_TRIES || performance.now() - startedAtMs < TELL_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#shared.invalidate(tags, id);
        return true;
      } catch {
        this.#counters.redisFailures += 1;
        // A single hiccup must not cost all replicas all that they keep.
        if (tries > 1 || !link.isRedisReachable) link.revoke();
      }
      if (!link.isRedisReachable || !isEarly(tries)) break;
      await sleep(TELL_AGAIN_MS);
    }
    // What the others last heard is good for so long, and not longer.
    const waitMs = Math.min(startedAtMs, link.downSinceMs) + LEASE_MS - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    return false;
  }

  #drop(tags: readonly string[]): void {
    if (tags.includes(ALL_TAGS)) this.#bus.invalidateAllLocally();
    else this.#tags.invalidate(tags);
  }

  /** What memory has, as long as the link is live. */
  #recall(wanted: CacheRequest<T>): CacheResult<T> | undefined {
    const entry = this.#memory.get(wanted.key) ?? this.#absent.get(wanted.key);
    if (entry === undefined || !this.#tags.isCurrent(entry.tags, entry.version)) return undefined;
    const nowMs = Date.now();
    if (nowMs >= entry.staleUntilMs) return undefined;
    if (nowMs >= entry.freshUntilMs) {
      this.#counters.staleHits += 1;
      // Nobody waits for it: whoever comes next finds it, or makes it himself and is told what is wrong.
      this.#takeOff(wanted, performance.now(), true).result.catch(() => {});
    }
    if ("error" in entry.outcome) this.#counters.negativeHits += 1;
    else this.#counters.memoryHits += 1;
    return { state: "memory", entry };
  }

  async #findSlowly(wanted: CacheRequest<T>): Promise<CacheResult<T>> {
    const askedAtMs = performance.now();
    const kept = (await this.#link.waitUntilHeld()) && this.#recall(wanted);
    return kept || this.#takeOff(wanted, askedAtMs, false).result;
  }

  /** Joins whoever makes this answer already, if he began after the last bump; otherwise makes it. */
  #takeOff(wanted: CacheRequest<T>, askedAtMs: number, isRefresh: boolean): Flight<T> {
    const { key, tags } = wanted;
    const current = this.#flights.get(key);
    const isYoung = current !== undefined && askedAtMs - current.startedAtMs < LEASE_MS;
    if (
      current !== undefined &&
      (isYoung || this.#link.isHeld) &&
      this.#tags.isCurrent(tags, current.since)
    ) {
      if (!isRefresh) this.#counters.coalesced += 1;
      return current;
    }
    const since = this.#tags.current;
    const result = this.#fetch(wanted, since, isRefresh).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight = { since, startedAtMs: performance.now(), result };
    this.#flights.set(key, flight);
    return flight;
  }

  async #fetch(wanted: CacheRequest<T>, since: number, isRefresh: boolean): Promise<CacheResult<T>> {
    if (!this.#link.isUp) {
      this.#counters.bypasses += 1;
      return { state: "bypass", entry: (await this.#load(wanted, since)).entry };
    }
    const { entry: kept, generations, isFirst } = await this.#look(wanted, since, isRefresh);
    if (kept !== undefined) {
      this.#counters.redisHits += 1;
      this.#keep(wanted.key, kept);
      return { state: "redis", entry: kept };
    }
    this.#counters.misses += 1;
    const { entry, payload } = await this.#load(wanted, since);
    this.#keep(wanted.key, entry);
    void this.#share(wanted, entry, payload, generations, isFirst);
    return { state: "miss", entry };
  }

  /**
   * What Redis has. When it has nothing, the first process to find that makes the answer, and the others wait
   * a moment for it.
   */
  async #look(wanted: CacheRequest<T>, since: number, isRefresh: boolean): Promise<Look<T>> {
    const { key, tags, decode } = wanted;
    if (decode === undefined) return {};
    const endMs = performance.now() + LOCK_WAIT_MS;
    for (let isFirst: boolean | undefined; ; await sleep(LOCK_LOOK_MS)) {
      const read = await this.#ask(() => this.#shared.read(key, tags));
      const entry = read?.entry && this.#decoded(wanted, decode, read.entry, since);
      if (entry !== undefined && (isRefresh ? entry.freshUntilMs : entry.staleUntilMs) > Date.now()) {
        return { entry };
      }
      isFirst ??= read === undefined || (await this.#ask(() => this.#shared.tryLock(key))) !== false;
      if (isFirst || performance.now() >= endMs) return { generations: read?.generations, isFirst };
    }
  }

  /** Others may write to Redis too. What cannot be read is no answer, and a new one takes its place. */
  #decoded(
    wanted: CacheRequest<T>,
    decode: (bytes: Uint8Array) => T,
    { loadedAtMs: madeAtMs, payload }: RedisEntry,
    since: number,
  ): Entry<T> | undefined {
    try {
      return createEntry(wanted, decode(payload), payload, { since, madeAtMs });
    } catch {
      this.#counters.redisFailures += 1;
      return undefined;
    }
  }

  async #load(wanted: CacheRequest<T>, since: number): Promise<{ entry: Entry<T>; payload?: Uint8Array }> {
    const madeAtMs = Date.now();
    try {
      const value = await wanted.load();
      const payload = wanted.encode(value);
      return { entry: createEntry(wanted, value, payload, { since, madeAtMs }), payload };
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "not_found") throw error;
      return { entry: createNegativeEntry(wanted, error, since) };
    }
  }

  #keep(key: string, entry: Entry<T>): void {
    if (!this.#link.isUp || !this.#tags.isCurrent(entry.tags, entry.version)) {
      this.#counters.fencedFills += 1;
      return;
    }
    this.#counters.fills += 1;
    const [tier, other] =
      "error" in entry.outcome ? [this.#absent, this.#memory] : [this.#memory, this.#absent];
    tier.set(key, entry);
    other.delete(key);
  }

  async #share(
    { key, freshMs, staleMs }: CacheRequest<T>,
    { loadedAtMs: madeAtMs }: Entry<T>,
    payload: Uint8Array | undefined,
    generations: readonly Generation[] | undefined,
    isFirst: boolean | undefined,
  ): Promise<void> {
    if (payload !== undefined && generations !== undefined) {
      await this.#ask(() =>
        this.#shared.write(key, generations, { loadedAtMs: madeAtMs, payload }, freshMs + staleMs),
      );
    }
    if (isFirst === true) await this.#ask(() => this.#shared.unlock(key));
  }

  /** Asks Redis, unless it was too slow a moment ago. @returns undefined when it did not answer */
  async #ask<R>(work: () => Promise<R>): Promise<R | undefined> {
    const startedAtMs = performance.now();
    if (startedAtMs < this.#restUntilMs) return undefined;
    try {
      return await work();
    } catch {
      this.#counters.redisFailures += 1;
      if (performance.now() - startedAtMs >= SLOW_MS) this.#restUntilMs = performance.now() + REST_MS;
      return undefined;
    }
  }
}

const lowerCase = (tags: readonly string[]): string[] => tags.map((tag) => tag.toLowerCase());
