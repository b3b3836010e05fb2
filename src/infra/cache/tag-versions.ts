import { LRUCache } from "lru-cache";
import { THROTTLE_MS } from "./invalidation/invalidation-throttle.ts";
import { LEASE_MS } from "./invalidation/lease-monitor.ts";
import type { ThrottledTag } from "./invalidation/messages.ts";

/** The last invalidations of a tag. Versions without another comment are those of `TagVersions`. */
interface TagRecord {
  invalidatedIn: number;
  throttledIn: number;
  /** The time of the last throttled invalidation, by the monotonic clock. */
  throttledAtMs: number;
  /** The highest version of the resource that a throttled invalidation had. */
  resourceVersion: bigint;
}

/** Maximum number of recorded tags, of about 200 bytes each. */
const MAX_TAGS = 100_000;
/**
 * Time after a throttled invalidation in which a load may miss later changes, in milliseconds: those whose invalidation
 * their process still delays. It delays them for THROTTLE_MS from the time at which it sent the last one, which was
 * received LEASE_MS later at most.
 */
const RECENT_MS = THROTTLE_MS + LEASE_MS;
/** The version before all invalidations. */
const NEVER = -1;

/**
 * Records the version in which each tag was last invalidated in this process. A version is a counter of this
 * process. A reader reads the current version before it queries the database; its result is current as long as none
 * of its tags was invalidated in a later version. So a write between the query and the storing of its result is
 * never missed, also if the tags are known from the result only.
 */
export class TagVersions {
  #current = 0;
  /** Entries loaded before this version are stale, whatever their tags are. */
  #minimum = 0;
  /** The last invalidations of each tag, in ascending order of their versions. */
  readonly #records = new LRUCache<string, TagRecord>({
    max: MAX_TAGS,
    dispose: ({ invalidatedIn, throttledIn }, _, reason) => {
      // A tag that is no longer recorded counts as invalidated, and with it all others of that version.
      if (reason === "evict") this.#minimum = Math.max(invalidatedIn, throttledIn);
    },
  });

  /** The version to read before a load. */
  get current(): number {
    return this.#current;
  }

  /** Makes all entries with one of these tags stale. */
  invalidate(tags: Iterable<string>): void {
    this.#current += 1;
    for (const tag of tags) this.#renew(tag).invalidatedIn = this.#current;
  }

  /** Records throttled invalidations. They limit the time for which entries are used, see `Cache`. */
  invalidateThrottled(changes: Iterable<ThrottledTag>, nowMs: number): void {
    this.#current += 1;
    for (const { tag, version } of changes) {
      const record = this.#renew(tag);
      record.throttledIn = this.#current;
      record.throttledAtMs = nowMs;
      if (version > record.resourceVersion) record.resourceVersion = version;
    }
  }

  /** Makes all entries stale, for instance because invalidations may have been missed. */
  invalidateAll(): void {
    this.#current += 1;
    this.#minimum = this.#current;
    this.#records.clear();
  }

  /** Returns whether an entry with these tags, loaded in this version, is still current. */
  isCurrent(tags: readonly string[], version: number): boolean {
    if (version < this.#minimum) return false;
    for (const tag of tags) {
      const record = this.#records.peek(tag);
      if (record !== undefined && record.invalidatedIn > version) return false;
    }
    return true;
  }

  /** Returns whether one of these tags had a throttled invalidation after this version. */
  isThrottledSince(tags: readonly string[], version: number): boolean {
    return tags.some((tag) => (this.#records.peek(tag)?.throttledIn ?? NEVER) > version);
  }

  /**
   * Returns whether a value with these tags whose load started at this time may lack changes whose invalidation is
   * throttled: one of the tags had a throttled invalidation shortly before that time, or after it.
   */
  mayLackChanges(tags: readonly string[], startedAtMs: number): boolean {
    const sinceMs = startedAtMs - RECENT_MS;
    return tags.some((tag) => (this.#records.peek(tag)?.throttledAtMs ?? Number.NEGATIVE_INFINITY) > sinceMs);
  }

  /** Returns whether a throttled invalidation of this or a later version of the resource is recorded. */
  hasThrottled({ tag, version }: ThrottledTag): boolean {
    const record = this.#records.peek(tag);
    return record !== undefined && record.resourceVersion >= version;
  }

  /** Returns the record of a tag that is invalidated in the current version. */
  #renew(tag: string): TagRecord {
    const record = this.#records.peek(tag) ?? {
      invalidatedIn: NEVER,
      throttledIn: NEVER,
      throttledAtMs: Number.NEGATIVE_INFINITY,
      resourceVersion: -1n,
    };
    // Moves it to the end.
    this.#records.set(tag, record);
    return record;
  }
}
