import { LRUCache } from "lru-cache";
import type { ThrottledTag } from "./invalidation/messages.ts";
import { ThrottledTags } from "./throttled-tags.ts";

/** Maximum number of recorded tags, of about 200 bytes each. */
const MAX_TAGS = 100_000;

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
  /** The version of the last invalidation that was not throttled. */
  #lastInvalidatedIn = 0;
  /** The version in which each tag was last invalidated, in ascending order. */
  readonly #invalidatedIn = new LRUCache<string, number>({
    max: MAX_TAGS,
    dispose: (invalidatedIn, _, reason) => {
      // A tag that is no longer recorded counts as invalidated, and with it all others of that version.
      if (reason === "evict") this.#minimum = invalidatedIn;
    },
  });
  /** Apart from the others: they are many, since each order has some, and must not make other entries stale. */
  readonly #throttled = new ThrottledTags();

  /** The version to read before a load. */
  get current(): number {
    return this.#current;
  }

  /** Makes all entries with one of these tags stale. */
  invalidate(tags: Iterable<string>): void {
    this.#current += 1;
    this.#lastInvalidatedIn = this.#current;
    for (const tag of tags) this.#invalidatedIn.set(tag, this.#current);
  }

  /** Records throttled invalidations. They limit the time for which entries are used, see `Cache`. */
  invalidateThrottled(changes: Iterable<ThrottledTag>, nowMs: number): void {
    this.#current += 1;
    this.#throttled.invalidate(changes, this.#current, nowMs);
  }

  /** Makes all entries stale, for instance because invalidations may have been missed. */
  invalidateAll(): void {
    this.#current += 1;
    this.#minimum = this.#current;
    this.#lastInvalidatedIn = this.#current;
    this.#invalidatedIn.clear();
  }

  /** Returns whether an entry with these tags, loaded in this version, is still current. */
  isCurrent(tags: readonly string[], version: number): boolean {
    if (version < this.#minimum) return false;
    if (version >= this.#lastInvalidatedIn) return true;
    for (const tag of tags) {
      const invalidatedIn = this.#invalidatedIn.peek(tag);
      if (invalidatedIn !== undefined && invalidatedIn > version) return false;
    }
    return true;
  }

  /** Returns whether one of these tags had a throttled invalidation after this version. */
  isThrottledSince(tags: readonly string[], version: number): boolean {
    return this.#throttled.isInvalidatedSince(tags, version);
  }

  /**
   * Returns whether a value with these tags whose load started at this time may lack changes whose invalidation is
   * throttled: one of the tags had a throttled invalidation shortly before that time, or after it.
   */
  mayLackChanges(tags: readonly string[], startedAtMs: number): boolean {
    return this.#throttled.mayLackChanges(tags, startedAtMs);
  }

  /** Returns whether a throttled invalidation of this or a later version of the resource is recorded. */
  hasThrottled(change: ThrottledTag): boolean {
    return this.#throttled.has(change);
  }
}
