import { LRUCache } from "lru-cache";
import { THROTTLE_MS } from "./invalidation/invalidation-throttle.ts";
import { LEASE_MS } from "./invalidation/lease-monitor.ts";
import type { ThrottledTag } from "./invalidation/messages.ts";

/** The last throttled invalidation of a tag. */
interface ThrottledRecord {
  /** The version of `TagVersions` that it made the current one. */
  invalidatedIn: number;
  /** Its time by the monotonic clock. */
  atMs: number;
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
/** The record of a tag without a throttled invalidation. */
const NONE: ThrottledRecord = { invalidatedIn: -1, atMs: Number.NEGATIVE_INFINITY, resourceVersion: -1n };

/**
 * Records the throttled invalidations of tags. They limit the time for which entries are used, see `Cache`. With too
 * many tags the oldest records are dropped, and each tag of the same kind counts as invalidated with them. The kind is the
 * text before the colon, such as `product`: tags of other kinds are unaffected.
 */
export class ThrottledTags {
  /** In ascending order of versions and times. */
  readonly #records = new LRUCache<string, ThrottledRecord>({
    max: MAX_TAGS,
    dispose: (record, tag, reason) => {
      if (reason !== "evict") return;
      this.#lastDropped = record;
      this.#dropped.set(kindOf(tag), record);
    },
  });
  /** The last dropped record of each kind. */
  readonly #dropped = new Map<string, ThrottledRecord>();
  #lastDropped = NONE;
  /** The version of the last throttled invalidation. */
  #lastInvalidatedIn = NONE.invalidatedIn;

  /** @param current the new version of `TagVersions` */
  invalidate(changes: Iterable<ThrottledTag>, current: number, nowMs: number): void {
    this.#lastInvalidatedIn = current;
    for (const { tag, version } of changes) {
      const record = this.#records.peek(tag) ?? { ...NONE };
      record.invalidatedIn = current;
      record.atMs = nowMs;
      if (version > record.resourceVersion) record.resourceVersion = version;
      // Moves it to the end.
      this.#records.set(tag, record);
    }
  }

  /** See `TagVersions.isThrottledSince`. */
  isInvalidatedSince(tags: readonly string[], version: number): boolean {
    if (version >= this.#lastInvalidatedIn) return false;
    for (const tag of tags) {
      const record = this.#records.peek(tag);
      if (record !== undefined && record.invalidatedIn > version) return true;
    }
    return (
      this.#lastDropped.invalidatedIn > version &&
      tags.some((tag) => this.#findDropped(tag).invalidatedIn > version)
    );
  }

  /** See `TagVersions.mayLackChanges`. */
  mayLackChanges(tags: readonly string[], startedAtMs: number): boolean {
    const sinceMs = startedAtMs - RECENT_MS;
    if (tags.some((tag) => this.#find(tag).atMs > sinceMs)) return true;
    return this.#lastDropped.atMs > sinceMs && tags.some((tag) => this.#findDropped(tag).atMs > sinceMs);
  }

  /** Returns whether an invalidation of this or a later version of the resource is recorded. */
  has({ tag, version }: ThrottledTag): boolean {
    return this.#find(tag).resourceVersion >= version;
  }

  #find(tag: string): ThrottledRecord {
    return this.#records.peek(tag) ?? NONE;
  }

  #findDropped(tag: string): ThrottledRecord {
    return this.#dropped.get(kindOf(tag)) ?? NONE;
  }
}

function kindOf(tag: string): string {
  const end = tag.indexOf(":");
  return end === -1 ? tag : tag.slice(0, end);
}
