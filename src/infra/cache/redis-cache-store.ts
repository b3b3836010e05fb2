import { setTimeout as sleep } from "node:timers/promises";
import type { CacheClock } from "./cache-clock.ts";
import { type CacheRequest, createSharedEntry, type Entry } from "./cache-entry.ts";
import type { CacheCounters } from "./cache-stats.ts";
import type { InvalidationBus } from "./invalidation-bus.ts";
import { GENERATION_BYTES, type Generation, type RedisEntry, type RedisTier } from "./redis-tier.ts";

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

/** What the store needs of the bus. */
type StoreBus = Pick<
  InvalidationBus,
  "redisTier" | "tagVersions" | "clock" | "waitForEarlierInvalidations"
> & { readonly lease: { readonly isUp: boolean } };

/** Finds and stores the entries of one cache in Redis. Failures of Redis are counted and never thrown. */
export class RedisCacheStore<T> {
  readonly #bus: StoreBus;
  readonly #redisTier: RedisTier;
  readonly #counters: CacheCounters;
  readonly #clock: CacheClock;
  #cooldownUntilMs = 0;

  constructor(bus: StoreBus, counters: CacheCounters) {
    this.#bus = bus;
    this.#redisTier = bus.redisTier;
    this.#counters = counters;
    this.#clock = bus.clock;
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
      const stored = read?.entry;
      const entry = stored && (await this.#attempt(() => this.#decode(request, stored, version)));
      const untilMs = (isRefresh ? entry?.freshUntilMs : entry?.staleUntilMs) ?? Number.NEGATIVE_INFINITY;
      if (entry !== undefined && untilMs > this.#clock.monotonicMs()) return { entry };
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
    request: CacheRequest<T>,
    entry: Entry<T>,
    payload: Uint8Array | undefined,
    { generations, isFirst }: RedisLookupResult<T>,
  ): Promise<void> {
    if (payload !== undefined && generations !== undefined) {
      await this.#attempt(() => this.#write(request, entry, payload, generations));
    }
    if (isFirst === true) await this.#attempt(() => this.#redisTier.unlock(request.key));
  }

  async #write(
    request: CacheRequest<T>,
    entry: Entry<T>,
    payload: Uint8Array,
    generations: readonly Generation[],
  ): Promise<void> {
    const ownTags = entry.tags.slice(request.tags.length);
    const ownGenerations = ownTags.length === 0 ? [] : await this.#redisTier.ensureGenerations(ownTags);
    // The generations of these tags were not known before the load: they are those from before it if this process,
    // which has then received all earlier invalidations, received none of them since.
    if (ownTags.length > 0 && !(await this.#bus.waitForEarlierInvalidations())) return;
    if (!this.#isShareable(entry)) return;
    const stored = request.tagsOf ? encodeWithGenerations(ownGenerations, payload) : payload;
    const { loadedAtMs } = entry;
    const ttlMs = request.freshMs + request.staleMs;
    await this.#redisTier.write(request.key, generations, { loadedAtMs, payload: stored }, ttlMs);
  }

  /** Returns whether an entry is current by the invalidations that this process has received, and lacks no changes. */
  #isShareable({ tags, version, startedAtMs }: Entry<T>): boolean {
    const { lease, tagVersions } = this.#bus;
    const sinceMs = startedAtMs ?? this.#clock.monotonicMs();
    return lease.isUp && tagVersions.isCurrent(tags, version) && !tagVersions.mayLackChanges(tags, sinceMs);
  }

  /**
   * Decodes an entry. Returns undefined if a tag of its value was invalidated or has throttled changes, and for bytes that
   * another program may have written; they are replaced.
   */
  async #decode(
    request: CacheRequest<T>,
    { loadedAtMs, payload: stored }: RedisEntry,
    version: number,
  ): Promise<Entry<T> | undefined> {
    const startedAtMs = this.#clock.monotonicMs();
    const load = { version, startedAtMs, loadedAtMs, ageMs: Math.max(0, this.#clock.wallMs() - loadedAtMs) };
    const { generations, payload } = request.tagsOf ? decodeWithGenerations(stored) : { payload: stored };
    let entry: Entry<T>;
    try {
      const value = request.decode?.(payload);
      if (value === undefined) return undefined;
      entry = createSharedEntry(request, value, payload, load);
    } catch {
      this.#counters.redisFailures += 1;
      return undefined;
    }
    if (this.#bus.tagVersions.mayLackChanges(entry.tags, startedAtMs)) return undefined;
    const ownTags = entry.tags.slice(request.tags.length);
    if (ownTags.length === 0) return entry;
    const current = await this.#redisTier.readGenerations(ownTags);
    const isCurrent = current.every(
      (generation, index) => generation && generations?.[index]?.equals(generation),
    );
    return isCurrent ? entry : undefined;
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

const COUNT_BYTES = 2;

/** Adds the generations of the tags of a value to its encoding. */
function encodeWithGenerations(generations: readonly Generation[], payload: Uint8Array): Buffer {
  const count = Buffer.alloc(COUNT_BYTES);
  count.writeUInt16BE(generations.length);
  return Buffer.concat([count, ...generations, payload]);
}

function decodeWithGenerations(stored: Uint8Array): { generations: Generation[]; payload: Uint8Array } {
  const buffer = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const payloadStart = COUNT_BYTES + buffer.readUInt16BE(0) * GENERATION_BYTES;
  const generations: Generation[] = [];
  for (let start = COUNT_BYTES; start < payloadStart; start += GENERATION_BYTES) {
    generations.push(buffer.subarray(start, start + GENERATION_BYTES));
  }
  return { generations, payload: buffer.subarray(payloadStart) };
}
