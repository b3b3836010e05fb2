import { LRUCache } from "lru-cache";
import { type Budget, type Decision, deny } from "./budget.ts";

/** Maximum number of keys. For an evicted key Redis decides again. */
const MAX_KEYS = 20_000;

interface Denial {
  /** End of the time in which this cost, and every higher one, is denied. */
  untilMs: number;
  cost: number;
  spent: number;
}

/** Caches denials until their retry time, so that a key over its budget causes no requests to Redis. */
export class DenialCache {
  readonly #denials = new LRUCache<string, Denial>({ max: MAX_KEYS });

  /** Returns the denial of a call that is known to exceed the budget. */
  find(budget: Budget, name: string, cost: number, nowMs: number): Decision | undefined {
    const denial = this.#denials.get(name);
    if (denial === undefined || cost < denial.cost) return undefined;
    if (nowMs < denial.untilMs) return deny(budget, denial.spent, Math.ceil(denial.untilMs - nowMs));
    this.#denials.delete(name);
    return undefined;
  }

  /** Adds a decision if it is a denial. */
  add(budget: Budget, name: string, cost: number, decision: Decision, nowMs: number): void {
    if (decision.allowed) return;
    const untilMs = nowMs + (decision.retryAfterMs ?? 0);
    this.#denials.set(name, { untilMs, cost, spent: budget.units - decision.remaining });
  }
}
