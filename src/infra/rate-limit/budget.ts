/** How much may be taken in any stretch of time. */
export interface Budget {
  /** Its own keys in Redis: `READ:address`. Budgets of one name must be the same. */
  readonly name: string;
  /** Units of cost in any `windowMs` milliseconds, which are whole seconds. */
  readonly units: number;
  readonly windowMs: number;
  /** While Redis is away: refuse, instead of going on with a budget of this process alone. */
  readonly failClosed: boolean;
}

/** Whether a call may pass, and what is left. */
export interface Decision {
  readonly allowed: boolean;
  /** The size of the budget, and what is left of it. */
  readonly limit: number;
  readonly remaining: number;
  /** When it is whole again if nothing more is spent, milliseconds from now; refused: at the latest. */
  readonly resetMs: number;
  /** Refused: when as much may be spent, milliseconds from now. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * In how many grains a window is divided. What is spent is counted by grains, and a grain counts until all of it
 * has left the window: so no stretch of `windowMs` ever holds more than the budget, and what was spent is given
 * back late by one grain at most. A key takes so many small numbers and no more, however much is spent.
 */
export const BUCKETS = 64;

/** The longest time after which a budget is whole again. */
export function resetAfterMs({ windowMs }: Budget): number {
  return windowMs + Math.ceil(windowMs / BUCKETS);
}

/** The verdict on a call that passes. @param spent units in the window, with it */
export function allow(budget: Budget, spent: number, resetMs: number): Decision {
  return { allowed: true, limit: budget.units, remaining: budget.units - spent, resetMs };
}

/** The verdict on a call that does not. @param spent units in the window, without it */
export function deny(budget: Budget, spent: number, retryAfterMs: number): Decision {
  const remaining = Math.max(0, budget.units - spent);
  return { allowed: false, limit: budget.units, remaining, resetMs: resetAfterMs(budget), retryAfterMs };
}
