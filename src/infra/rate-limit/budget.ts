/** A limit of cost units in a sliding window. */
export interface Budget {
  /** Prefix of its keys in Redis, such as `READ:address`. Budgets of the same name must be equal. */
  readonly name: string;
  /** Units of cost in any period of `windowMs`. */
  readonly units: number;
  /** A multiple of 1,000. */
  readonly windowMs: number;
  /** Whether calls are rejected if Redis is unavailable; false: this process enforces the budget alone. */
  readonly failClosed: boolean;
}

/** Whether a call is allowed, and the state of its budget. */
export interface Decision {
  readonly allowed: boolean;
  /** The units of the budget. */
  readonly limit: number;
  readonly remaining: number;
  /** Time until the whole budget is available again if nothing more is spent, in milliseconds; if denied, at most. */
  readonly resetMs: number;
  /** Time until the same cost is available, in milliseconds. Undefined if allowed. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * Number of buckets in a window. Units are counted by bucket, and a bucket counts until all of it has left the
 * window: so no period of `windowMs` ever exceeds the budget, and units become available again one bucket late at
 * most. The size of a key is bounded by it, however much is spent.
 */
export const BUCKETS = 64;

/** Returns the maximum time until a whole budget is available again, in milliseconds. */
export function maxResetMs({ windowMs }: Budget): number {
  return windowMs + Math.ceil(windowMs / BUCKETS);
}

/** Returns the decision on an allowed call. @param spent units in the window, including the call */
export function allow(budget: Budget, spent: number, resetMs: number): Decision {
  return { allowed: true, limit: budget.units, remaining: budget.units - spent, resetMs };
}

/** Returns the decision on a denied call. @param spent units in the window, without the call */
export function deny(budget: Budget, spent: number, retryAfterMs: number): Decision {
  const remaining = Math.max(0, budget.units - spent);
  return { allowed: false, limit: budget.units, remaining, resetMs: maxResetMs(budget), retryAfterMs };
}
