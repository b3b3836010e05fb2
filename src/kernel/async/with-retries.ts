import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs } from "./backoff.ts";

/** Attempts, delays and conditions of a retry loop. */
export interface RetryOptions {
  /** Number of attempts in all, the first one included. */
  attempts: number;
  /** Delay before the second attempt, in milliseconds. It doubles with each attempt and varies by half of itself. */
  firstDelayMs: number;
  /** Upper bound of the delay before the jitter, in milliseconds. None by default. */
  maxDelayMs?: number;
  /** Returns whether another attempt may succeed. Every error is retried by default. */
  isRetryable?: (error: unknown) => boolean;
  /** Called before the delay of each retry. */
  onRetry?: (error: unknown, retry: { attempt: number; delayMs: number }) => void;
  /** Ends the delay, and with it the retries, by throwing its reason. */
  signal?: AbortSignal;
}

/**
 * Runs `work` until it succeeds, with exponential backoff and jitter between attempts.
 * @param work receives the number of the attempt, from 1
 * @throws the error of the last attempt, or the first one that is not retryable
 */
export async function withRetries<T>(
  work: (attempt: number) => Promise<T>,
  {
    attempts,
    firstDelayMs,
    maxDelayMs = Number.POSITIVE_INFINITY,
    isRetryable,
    onRetry,
    signal,
  }: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      if (attempt >= attempts || isRetryable?.(error) === false) throw error;
      const delayMs = backoffMs(attempt, { firstMs: firstDelayMs, maxMs: maxDelayMs });
      onRetry?.(error, { attempt, delayMs });
      await sleep(delayMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}
