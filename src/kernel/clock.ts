/** The source of time. It is injected, so that tests control it. */
export interface Clock {
  now(): Date;
}

/** The system's clock. */
export const systemClock: Clock = { now: () => new Date() };

/** Longest time that a caller's clock may be ahead of the service's, in milliseconds. */
export const MAX_CLOCK_SKEW_MS = 60_000;
