import { LRUCache } from "lru-cache";
import { allow, BUCKETS, type Budget, type Decision, deny } from "./budget.ts";

/** Maximum number of keys. The least recently used are evicted. */
const MAX_KEYS = 20_000;
/** The current bucket, and those of a whole window before it. */
const SLOTS = BUCKETS + 1;

/** The units that were spent under one key. */
interface KeyUsage {
  /** The bucket of the last update. */
  bucket: number;
  total: number;
  /** Units by bucket, modulo SLOTS. */
  readonly counts: Uint32Array;
}

/** A sliding window in the memory of this process, with the algorithm of the one in Redis. */
export class LocalWindow {
  readonly #keys = new LRUCache<string, KeyUsage>({ max: MAX_KEYS });

  /**
   * Spends `cost` units if so many are left.
   * @param nowMs time of a monotonic clock
   */
  spend(budget: Budget, key: string, cost: number, nowMs: number): Decision {
    const usage = this.#usageAt(budget, key, nowMs);
    const expiresInMs = (bucket: number) =>
      Math.max(1, Math.ceil(((bucket + SLOTS) * budget.windowMs) / BUCKETS - nowMs));
    if (usage.total + cost <= budget.units) {
      add(usage, cost);
      return allow(budget, usage.total, expiresInMs(usage.bucket));
    }
    // Finds the bucket whose expiry makes enough units available.
    let left = usage.total;
    let bucket = usage.bucket - BUCKETS;
    for (; bucket < usage.bucket; bucket += 1) {
      left -= countIn(usage, bucket);
      if (left + cost <= budget.units) break;
    }
    return deny(budget, usage.total, expiresInMs(bucket));
  }

  /** Counts units that Redis has allowed, so that a key has no second budget when Redis fails. */
  count(budget: Budget, key: string, cost: number, nowMs: number): void {
    add(this.#usageAt(budget, key, nowMs), cost);
  }

  /** Makes units that were spent at `spentAtMs` available again. */
  refund(budget: Budget, key: string, cost: number, spentAtMs: number, nowMs: number): void {
    const usage = this.#usageAt(budget, key, nowMs);
    const bucket = bucketAt(budget, spentAtMs);
    // The bucket may have left the window, or the key may have been evicted.
    if (bucket < usage.bucket - BUCKETS || countIn(usage, bucket) < cost) return;
    usage.total -= cost;
    usage.counts[slotOf(bucket)] = countIn(usage, bucket) - cost;
  }

  #usageAt(budget: Budget, key: string, nowMs: number): KeyUsage {
    const bucket = bucketAt(budget, nowMs);
    const existing = this.#keys.get(key);
    if (existing !== undefined) {
      expireBuckets(existing, bucket);
      return existing;
    }
    const usage = { bucket, total: 0, counts: new Uint32Array(SLOTS) };
    this.#keys.set(key, usage);
    return usage;
  }
}

/** Removes the buckets that have left the window by the time of bucket `now`. */
function expireBuckets(usage: KeyUsage, now: number): void {
  const first = Math.max(usage.bucket + 1, now - BUCKETS);
  for (let bucket = first; bucket <= now; bucket += 1) {
    // A new bucket takes the slot of one that has left.
    usage.total -= countIn(usage, bucket);
    usage.counts[slotOf(bucket)] = 0;
  }
  usage.bucket = Math.max(usage.bucket, now);
}

function add(usage: KeyUsage, cost: number): void {
  usage.total += cost;
  usage.counts[slotOf(usage.bucket)] = countIn(usage, usage.bucket) + cost;
}

function bucketAt({ windowMs }: Budget, nowMs: number): number {
  return Math.floor((nowMs * BUCKETS) / windowMs);
}

function countIn({ counts }: KeyUsage, bucket: number): number {
  return counts[slotOf(bucket)] ?? 0;
}

function slotOf(bucket: number): number {
  return ((bucket % SLOTS) + SLOTS) % SLOTS;
}
