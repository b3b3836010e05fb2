import type { Clock } from "../../../src/kernel/clock.ts";

/** A clock that only the test advances. */
export interface TestClock extends Clock {
  advance(ms: number): void;
}

/** Creates a clock at the present time. */
export function createTestClock(): TestClock {
  let nowMs = Date.now();
  return {
    now: () => new Date(nowMs),
    advance: (ms) => {
      nowMs += ms;
    },
  };
}
