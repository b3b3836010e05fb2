import { afterEach, expect, test, vi } from "vitest";
import { startLoop } from "../../../../src/kernel/async/start-loop.ts";

afterEach(() => vi.useRealTimers());

test("rounds follow each other after the delay that each returns, and do not overlap", async () => {
  vi.useFakeTimers();
  let rounds = 0;
  let running = 0;
  const loop = startLoop({
    async run() {
      running += 1;
      expect(running).toBe(1);
      await Promise.resolve();
      running -= 1;
      rounds += 1;
      return 1_000;
    },
    onFailure: () => {},
  });
  await vi.advanceTimersByTimeAsync(0);
  expect(rounds).toBe(1);
  await vi.advanceTimersByTimeAsync(999);
  expect(rounds).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(rounds).toBe(2);
  await loop.close();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rounds).toBe(2);
});

test("failed rounds are repeated with growing delays of at most 45 s, which a success resets", async () => {
  vi.useFakeTimers();
  const failures: number[] = [];
  const startedAtMs: number[] = [];
  let isDown = true;
  const loop = startLoop({
    async run() {
      startedAtMs.push(Date.now());
      if (isDown) throw new Error("down");
      return 1_000;
    },
    onFailure: (_error, failuresInARow) => failures.push(failuresInARow),
  });
  await vi.advanceTimersByTimeAsync(10 * 60_000);
  expect(failures).toEqual(failures.map((_, index) => index + 1));
  const delays = startedAtMs.slice(1).map((at, index) => at - (startedAtMs[index] ?? 0));
  for (const [index, delayMs] of delays.entries()) {
    const exponential = Math.min(250 * 2 ** index, 30_000);
    expect(delayMs).toBeGreaterThanOrEqual(exponential / 2);
    expect(delayMs).toBeLessThanOrEqual(exponential * 1.5 + 1);
  }
  expect(failures.length).toBeLessThan(60);
  isDown = false;
  await vi.advanceTimersByTimeAsync(60_000);
  isDown = true;
  const count = failures.length;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(failures[count]).toBe(1);
  await loop.close();
});

test("the signal of a running round aborts after the grace period of the close, which waits for its end", async () => {
  const started = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  const loop = startLoop({
    async run(signal) {
      started.resolve();
      await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      return 0;
    },
    onFailure: (error) => failures.push(error),
  });
  await started.promise;
  await loop.close(1);
  expect(failures).toEqual([]);
});

/** A loop whose rounds take 10 ms and whose next round is a minute later. */
function startSlowLoop() {
  vi.useFakeTimers();
  const state = { rounds: 0, isDown: false };
  const loop = startLoop({
    async run() {
      await new Promise((resolve) => setTimeout(resolve, 10));
      state.rounds += 1;
      if (state.isDown) throw new Error("down");
      return 60_000;
    },
    onFailure: () => {},
    backoff: { firstMs: 10_000, maxMs: 10_000 },
  });
  return { state, loop };
}

test("a loop that is woken begins its next round after the shortest delay", async () => {
  const { state, loop } = startSlowLoop();
  await vi.advanceTimersByTimeAsync(10);
  expect(state.rounds).toBe(1);
  for (const delayMs of [500, 100, 300]) loop.wake(delayMs);
  await vi.advanceTimersByTimeAsync(109);
  expect(state.rounds).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(state.rounds).toBe(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(state.rounds, "one round for all of them").toBe(2);
  await loop.close();
});

test("a loop that is woken during a round runs another one after it", async () => {
  const { state, loop } = startSlowLoop();
  await vi.advanceTimersByTimeAsync(5);
  loop.wake(100);
  await vi.advanceTimersByTimeAsync(114);
  expect(state.rounds).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(state.rounds).toBe(2);
  await loop.close();
});

test("a loop whose last round has failed keeps its delay when it is woken, before or after the failure", async () => {
  const { state, loop } = startSlowLoop();
  state.isDown = true;
  loop.wake(0);
  await vi.advanceTimersByTimeAsync(5);
  loop.wake(0);
  await vi.advanceTimersByTimeAsync(5);
  loop.wake(0);
  await vi.advanceTimersByTimeAsync(4_900);
  expect(state.rounds).toBe(1);
  await vi.advanceTimersByTimeAsync(10_200);
  expect(state.rounds).toBe(2);
  await loop.close();
});

test("a stopped loop begins no round, also when it is woken", async () => {
  const { state, loop } = startSlowLoop();
  await vi.advanceTimersByTimeAsync(5);
  loop.stop();
  loop.wake(0);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(state.rounds).toBe(1);
});
