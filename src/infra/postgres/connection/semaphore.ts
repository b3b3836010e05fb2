/** Limits the number of concurrent tasks. The others wait in the order of their arrival. */
export interface Semaphore {
  /** Resolves when a permit is free. Rejects after the wait timeout, and when the signal aborts. */
  acquire(signal: AbortSignal): Promise<void>;
  /** Returns a permit. To be called once for each `acquire` that resolved. */
  release(): void;
}

/**
 * Creates a semaphore.
 * @param permits maximum number of concurrent tasks
 * @param waitMs time limit of `acquire`, in milliseconds
 * @param timeoutError creates the error of an `acquire` that timed out
 */
export function createSemaphore(permits: number, waitMs: number, timeoutError: () => Error): Semaphore {
  const waiting = new Set<() => void>();
  let acquired = 0;
  return {
    acquire(signal) {
      if (acquired < permits) {
        acquired += 1;
        return Promise.resolve();
      }
      return new Promise((resolve, reject) => {
        const settle = (finish: () => void) => {
          clearTimeout(timer);
          signal.removeEventListener("abort", abort);
          waiting.delete(grant);
          finish();
        };
        const abort = () => settle(() => reject(signal.reason));
        const timer = setTimeout(() => settle(() => reject(timeoutError())), waitMs);
        const grant = () => settle(resolve);
        signal.addEventListener("abort", abort, { once: true });
        waiting.add(grant);
      });
    },
    release() {
      const [grantNext] = waiting;
      if (grantNext === undefined) acquired -= 1;
      else grantNext();
    },
  };
}
