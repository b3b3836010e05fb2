import { expect, test, vi } from "vitest";
import { type RetryOptions, withRetries } from "../../../../src/kernel/async/with-retries.ts";

const options: RetryOptions = { attempts: 4, firstDelayMs: 1 };
const failing = (times: number) =>
  vi.fn(async (attempt: number) => {
    if (attempt <= times) throw new Error(`failure ${attempt}`);
    return attempt;
  });

test("work is repeated until it succeeds, and not once more", async () => {
  const work = failing(2);
  expect(await withRetries(work, options)).toBe(3);
  expect(work).toHaveBeenCalledTimes(3);
});

test("after the last attempt its error is thrown", async () => {
  const work = failing(9);
  await expect(withRetries(work, options)).rejects.toThrow("failure 4");
  expect(work).toHaveBeenCalledTimes(4);
});

test("an error that is not retryable is thrown immediately", async () => {
  const work = failing(9);
  await expect(withRetries(work, { ...options, isRetryable: () => false })).rejects.toThrow("failure 1");
  expect(work).toHaveBeenCalledTimes(1);
});

test("the delay doubles up to its bound and varies by half of itself", async () => {
  const delays: number[] = [];
  const onRetry: RetryOptions["onRetry"] = (_error, { delayMs }) => delays.push(delayMs);
  await withRetries(failing(3), { ...options, firstDelayMs: 8, maxDelayMs: 10, onRetry });
  for (const [index, bound] of [8, 10, 10].entries()) {
    expect(delays[index]).toBeGreaterThanOrEqual(bound / 2);
    expect(delays[index]).toBeLessThanOrEqual(bound * 1.5);
  }
});

test("an abort ends the delay and is thrown", async () => {
  const leaving = new AbortController();
  const retried = withRetries(failing(9), {
    ...options,
    firstDelayMs: 1_000_000,
    signal: leaving.signal,
    onRetry: () => leaving.abort(new Error("left")),
  });
  await expect(retried).rejects.toThrow("left");
});
