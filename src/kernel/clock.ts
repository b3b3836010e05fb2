/** Time comes in from outside, so that a test can hold it still. */
export interface Clock {
  now(): Date;
}

/** The system's clock. */
export const systemClock: Clock = { now: () => new Date() };

/** How far ahead of ours a caller's clock may be, milliseconds. */
export const MAX_CLOCK_SKEW_MS = 60_000;
