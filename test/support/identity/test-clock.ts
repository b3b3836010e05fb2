import type { Clock } from "../../../src/kernel/clock.ts";

/** A clock that stands still until a test advances it. */
export interface TestClock extends Clock {
  advance(ms: number): void;
}

/** Creates a clock that shows the present. */
export function createTestClock(): TestClock {
  let nowMs = Date.now();
  return {
    now: () => new Date(nowMs),
    advance: (ms) => {
      nowMs += ms;
    },
  };
}
