/** Something that is waited for. */
interface Wait {
  readonly endsAtMs: number;
  readonly giveUp: (reason: Error) => void;
}

/**
 * Gives up what takes too long. There is one timer for all of it: one for each, as ioredis has for its commands,
 * costs more than the commands do.
 */
export class SharedTimeout {
  readonly #waitMs: number;
  /** In the order in which they end. */
  readonly #waits = new Set<Wait>();
  #isArmed = false;

  /** @param waitMs how long things may take, milliseconds */
  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /** What `work` resolves or rejects with; rejects when that takes too long. */
  await<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const wait: Wait = { endsAtMs: performance.now() + this.#waitMs, giveUp: reject };
      this.#waits.add(wait);
      if (!this.#isArmed) this.#arm(this.#waitMs);
      work.then(
        (value) => {
          this.#waits.delete(wait);
          resolve(value);
        },
        (error: unknown) => {
          this.#waits.delete(wait);
          reject(error);
        },
      );
    });
  }

  #arm(ms: number): void {
    this.#isArmed = true;
    // When it was we who were busy, answers wait in the socket: they are read before anything is given up.
    setTimeout(() => setImmediate(() => this.#look()), ms).unref();
  }

  #look(): void {
    const nowMs = performance.now();
    for (const wait of this.#waits) {
      if (wait.endsAtMs > nowMs) {
        this.#arm(wait.endsAtMs - nowMs);
        return;
      }
      this.#waits.delete(wait);
      wait.giveUp(new Error(`no answer within ${this.#waitMs} ms`));
    }
    this.#isArmed = false;
  }
}
