import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SharedTimeout } from "../../../../src/infra/rate-limit/shared-timeout.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const never = () => new Promise<never>(() => {});

/** Applies the timeout and records whether the result has settled, and how. */
function track<T>(timeout: SharedTimeout, work: Promise<T>): { outcome: string } {
  const tracked = { outcome: "pending" };
  timeout.apply(work).then(
    (value) => {
      tracked.outcome = String(value);
    },
    (error: unknown) => {
      tracked.outcome = String(error);
    },
  );
  return tracked;
}

test("a promise that never settles is rejected after the timeout, each at its own time", async () => {
  const timeout = new SharedTimeout(50);
  const first = track(timeout, never());
  await vi.advanceTimersByTimeAsync(30);
  const second = Array.from({ length: 40 }, () => track(timeout, never()));
  await vi.advanceTimersByTimeAsync(19);
  expect(first.outcome).toBe("pending");
  await vi.advanceTimersByTimeAsync(2);
  expect(first.outcome).toBe("Error: no response within 50 ms");
  expect(new Set(second.map(({ outcome }) => outcome))).toEqual(new Set(["pending"]));
  await vi.advanceTimersByTimeAsync(30);
  expect(new Set(second.map(({ outcome }) => outcome))).toEqual(new Set(["Error: no response within 50 ms"]));
});

test("a promise that settles in time keeps its result or its error", async () => {
  const timeout = new SharedTimeout(50);
  const resolved = track(timeout, Promise.resolve("value"));
  const rejected = track(timeout, Promise.reject(new Error("no")));
  await vi.advanceTimersByTimeAsync(100);
  expect([resolved.outcome, rejected.outcome]).toEqual(["value", "Error: no"]);
});

test("a response that arrives while the process is busy is read before the timeout rejects it", async () => {
  const timeout = new SharedTimeout(50);
  const { promise, resolve } = Promise.withResolvers<string>();
  const late = track(timeout, promise);
  // Both are due when the process runs its timers. The response is delivered before the check.
  setTimeout(() => resolve("late"), 50);
  await vi.advanceTimersByTimeAsync(200);
  expect(late.outcome).toBe("late");
});
