import { LRUCache } from "lru-cache";
import { allow, BUCKETS, type Budget, type Decision, deny } from "./budget.ts";

/** Keys that are counted. Beyond that those are forgotten that were not seen for longest. */
const MAX_KEYS = 20_000;
/** A grain that has begun, and those of a whole window before it. */
const SLOTS = BUCKETS + 1;

/** What was spent under one key. */
interface Spent {
  /** The grain up to which the counts are right. */
  at: number;
  total: number;
  /** By grain, modulo SLOTS. */
  readonly counts: Uint32Array;
}

/** The sliding window in this process: the same as in Redis, for this process alone. */
export class LocalWindow {
  readonly #keys = new LRUCache<string, Spent>({ max: MAX_KEYS });

  /**
   * Takes `cost` units, if there are so many.
   * @param nowMs a clock that never goes back
   */
  spend(budget: Budget, key: string, cost: number, nowMs: number): Decision {
    const spent = this.#spentAt(budget, key, nowMs);
    const untilGoneMs = (grain: number) =>
      Math.max(1, Math.ceil(((grain + SLOTS) * budget.windowMs) / BUCKETS - nowMs));
    if (spent.total + cost <= budget.units) {
      add(spent, cost);
      return allow(budget, spent.total, untilGoneMs(spent.at));
    }
    let left = spent.total;
    let grain = spent.at - BUCKETS;
    for (; grain < spent.at; grain += 1) {
      left -= countOf(spent, grain);
      if (left + cost <= budget.units) break;
    }
    return deny(budget, spent.total, untilGoneMs(grain));
  }

  /** Counts what Redis has let pass, so that its loss gives nobody a second budget. */
  count(budget: Budget, key: string, cost: number, nowMs: number): void {
    add(this.#spentAt(budget, key, nowMs), cost);
  }

  /** Gives back what was taken at `thenMs` and is not used. */
  giveBack(budget: Budget, key: string, cost: number, thenMs: number, nowMs: number): void {
    const spent = this.#spentAt(budget, key, nowMs);
    const grain = grainOf(budget, thenMs);
    // What has left the window, or is of a key that was forgotten meanwhile, counts no more.
    if (grain < spent.at - BUCKETS || countOf(spent, grain) < cost) return;
    spent.total -= cost;
    spent.counts[slotOf(grain)] = countOf(spent, grain) - cost;
  }

  #spentAt(budget: Budget, key: string, nowMs: number): Spent {
    const grain = grainOf(budget, nowMs);
    const known = this.#keys.get(key);
    if (known !== undefined) {
      tidy(known, grain);
      return known;
    }
    const spent = { at: grain, total: 0, counts: new Uint32Array(SLOTS) };
    this.#keys.set(key, spent);
    return spent;
  }
}

/** Forgets the grains that have left the window. */
function tidy(spent: Spent, grain: number): void {
  const first = Math.max(spent.at + 1, grain - BUCKETS);
  for (let one = first; one <= grain; one += 1) {
    // The slot of a grain that begins is that of one that has left.
    spent.total -= countOf(spent, one);
    spent.counts[slotOf(one)] = 0;
  }
  spent.at = Math.max(spent.at, grain);
}

function add(spent: Spent, cost: number): void {
  spent.total += cost;
  spent.counts[slotOf(spent.at)] = countOf(spent, spent.at) + cost;
}

function grainOf({ windowMs }: Budget, nowMs: number): number {
  return Math.floor((nowMs * BUCKETS) / windowMs);
}

function countOf({ counts }: Spent, grain: number): number {
  return counts[slotOf(grain)] ?? 0;
}

function slotOf(grain: number): number {
  return ((grain % SLOTS) + SLOTS) % SLOTS;
}
