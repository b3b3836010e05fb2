/** Lets a limited number of tasks in at a time; the others wait in line. */
export interface Semaphore {
  /** Resolves when there is room. Rejects with `late()` when that takes too long, and when the signal aborts. */
  acquire(signal: AbortSignal): Promise<void>;
  /** To be called once for each time that `enter` resolved. */
  release(): void;
}

/**
 * @param room how many tasks may be in at a time
 * @param waitMs how long one may wait for that, milliseconds
 * @param late makes the error of those who waited in vain
 */
export function createSemaphore(room: number, waitMs: number, late: () => Error): Semaphore {
  const line = new Set<() => void>();
  let inside = 0;
  return {
    acquire(signal) {
      if (inside < room) {
        inside += 1;
        return Promise.resolve();
      }
      return new Promise((resolve, reject) => {
        const leave = (settle: () => void) => {
          clearTimeout(timer);
          signal.removeEventListener("abort", abort);
          line.delete(admit);
          settle();
        };
        const abort = () => leave(() => reject(signal.reason));
        const timer = setTimeout(() => leave(() => reject(late())), waitMs);
        const admit = () => leave(resolve);
        signal.addEventListener("abort", abort, { once: true });
        line.add(admit);
      });
    },
    release() {
      const [admitNext] = line;
      if (admitNext === undefined) inside -= 1;
      else admitNext();
    },
  };
}
