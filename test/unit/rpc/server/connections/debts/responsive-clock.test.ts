import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ResponsiveClock } from "../../../../../../src/rpc/server/connections/debts/responsive-clock.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("the clock follows the time while the event loop turns", () => {
  const clock = new ResponsiveClock();
  const start = clock.now();
  vi.advanceTimersByTime(1_005);
  expect(clock.now().responsiveMs - start.responsiveMs).toBeCloseTo(1_005);
  clock.stop();
});

test("a turn of the event loop counts 20 ms at most, before and after its end", () => {
  const clock = new ResponsiveClock();
  const start = clock.now();
  // No timer fires meanwhile.
  vi.spyOn(performance, "now").mockReturnValue(start.atMs + 5_000);
  expect(clock.now()).toEqual({ atMs: start.atMs + 5_000, responsiveMs: start.responsiveMs + 20 });
  vi.advanceTimersByTime(10);
  expect(clock.now().responsiveMs).toBe(start.responsiveMs + 20);
  clock.stop();
});
