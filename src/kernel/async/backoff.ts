/** Delays after failures, in milliseconds. */
export interface Backoff {
  /** After the first failure. The delay doubles with each further one. */
  readonly firstMs: number;
  /** Upper bound before the jitter. */
  readonly maxMs: number;
}

/**
 * Returns the delay after a number of failures in a row, at least one, in milliseconds: exponential, with a jitter of half
 * of it in both directions.
 */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff): number {
  return Math.min(firstMs * 2 ** (failures - 1), maxMs) * (0.5 + Math.random());
}
