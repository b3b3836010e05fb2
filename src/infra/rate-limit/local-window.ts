import { LRUCache } from "lru-cache";
import { allow, BUCKETS, type Budget, type Decision, deny } from "./budget.ts";

/** How many keys are counted; beyond that the least recently used are forgotten. */
const MAX_KEYS = 20_000;
/** The present bucket, and those of a whole window before it. */
const SLOTS = BUCKETS + 1;

/** The units that were spent under one key. */
interface Spent {
  /** The bucket up to which the counts are right. */
  bucket: number;
  total: number;
  /** Units by bucket, modulo SLOTS. */
  readonly counts: Uint32Array;
}

/** A sliding window in the memory of this process, with the algorithm of the one in Redis. */
export class LocalWindow {
  readonly #keys = new LRUCache<string, Spent>({ max: MAX_KEYS });

  /**
   * Spends `cost` units if so many are left.
   * @param nowMs a clock that never goes back
   */
  spend(budget: Budget, key: string, cost: number, nowMs: number): Decision {
    const spent = this.#spentAt(budget, key, nowMs);
    const expiresInMs = (bucket: number) =>
      Math.max(1, Math.ceil(((bucket + SLOTS) * budget.windowMs) / BUCKETS - nowMs));
    if (spent.total + cost <= budget.units) {
      add(spent, cost);
      return allow(budget, spent.total, expiresInMs(spent.bucket));
    }
    // Finds the bucket whose expiry makes enough units available.
    let left = spent.total;
    let bucket = spent.bucket - BUCKETS;
    for (; bucket < spent.bucket; bucket += 1) {
      left -= countIn(spent, bucket);
      if (left + cost <= budget.units) break;
    }
    return deny(budget, spent.total, expiresInMs(bucket));
  }

  /** Counts units that Redis has allowed, so that losing Redis gives no key a second budget. */
  count(budget: Budget, key: string, cost: number, nowMs: number): void {
    add(this.#spentAt(budget, key, nowMs), cost);
  }

  /** Returns units that were spent at `spentAtMs` and not used. */
  refund(budget: Budget, key: string, cost: number, spentAtMs: number, nowMs: number): void {
    const spent = this.#spentAt(budget, key, nowMs);
    const bucket = bucketAt(budget, spentAtMs);
    // The bucket may have left the window, or the key may have been forgotten.
    if (bucket < spent.bucket - BUCKETS || countIn(spent, bucket) < cost) return;
    spent.total -= cost;
    spent.counts[slotOf(bucket)] = countIn(spent, bucket) - cost;
  }

  #spentAt(budget: Budget, key: string, nowMs: number): Spent {
    const bucket = bucketAt(budget, nowMs);
    const known = this.#keys.get(key);
    if (known !== undefined) {
      expireBuckets(known, bucket);
      return known;
    }
    const spent = { bucket, total: 0, counts: new Uint32Array(SLOTS) };
    this.#keys.set(key, spent);
    return spent;
  }
}

/** Removes the buckets that have left the window by the time of bucket `now`. */
function expireBuckets(spent: Spent, now: number): void {
  const first = Math.max(spent.bucket + 1, now - BUCKETS);
  for (let bucket = first; bucket <= now; bucket += 1) {
    // A new bucket takes the slot of one that has left.
    spent.total -= countIn(spent, bucket);
    spent.counts[slotOf(bucket)] = 0;
  }
  spent.bucket = Math.max(spent.bucket, now);
}

function add(spent: Spent, cost: number): void {
  spent.total += cost;
  spent.counts[slotOf(spent.bucket)] = countIn(spent, spent.bucket) + cost;
}

function bucketAt({ windowMs }: Budget, nowMs: number): number {
  return Math.floor((nowMs * BUCKETS) / windowMs);
}

function countIn({ counts }: Spent, bucket: number): number {
  return counts[slotOf(bucket)] ?? 0;
}

function slotOf(bucket: number): number {
  return ((bucket % SLOTS) + SLOTS) % SLOTS;
}
