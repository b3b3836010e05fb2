import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { createSemaphore } from "../../../../../src/infra/postgres/connection/semaphore.ts";

const { signal } = new AbortController();
const timeoutError = () => new Error("timed out");

afterEach(() => {
  vi.useRealTimers();
});

test("a semaphore never grants more than its permits, and grants them in the order of arrival", async () => {
  const semaphore = createSemaphore(3, 60_000, timeoutError);
  let running = 0;
  let maxRunning = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      await semaphore.acquire(signal);
      order.push(index);
      running += 1;
      maxRunning = Math.max(maxRunning, running);
      await nextTurn();
      running -= 1;
      semaphore.release();
    }),
  );
  expect(maxRunning).toBe(3);
  expect(order).toEqual(Array.from({ length: 50 }, (_, index) => index));
});

test("a task that waits too long is rejected and holds no permit", async () => {
  vi.useFakeTimers();
  const semaphore = createSemaphore(1, 30, timeoutError);
  await semaphore.acquire(signal);
  const rejected = expect(semaphore.acquire(signal)).rejects.toThrow("timed out");
  await vi.advanceTimersByTimeAsync(30);
  await rejected;
  semaphore.release();
  await semaphore.acquire(signal);
  semaphore.release();
});

test("a task that is aborted while it waits holds no permit", async () => {
  const semaphore = createSemaphore(1, 60_000, timeoutError);
  await semaphore.acquire(signal);
  const caller = new AbortController();
  const waiting = semaphore.acquire(caller.signal);
  caller.abort(new Error("aborted"));
  await expect(waiting).rejects.toThrow("aborted");
  semaphore.release();
  await semaphore.acquire(signal);
});
