interface PendingWork {
  readonly deadlineMs: number;
  readonly reject: (reason: Error) => void;
}

/**
 * Applies a timeout to promises with one timer for all of them. A timer for each, as ioredis uses for its commands,
 * takes more time than the commands.
 */
export class SharedTimeout {
  readonly #timeoutMs: number;
  /** In the order of their deadlines. */
  readonly #pending = new Set<PendingWork>();
  #isTimerSet = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Settles as `work` does; rejects if that takes longer than the timeout. */
  apply<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const pending: PendingWork = { deadlineMs: performance.now() + this.#timeoutMs, reject };
      this.#pending.add(pending);
      if (!this.#isTimerSet) this.#setTimer(this.#timeoutMs);
      work.then(
        (value) => {
          this.#pending.delete(pending);
          resolve(value);
        },
        (error: unknown) => {
          this.#pending.delete(pending);
          reject(error);
        },
      );
    });
  }

  #setTimer(delayMs: number): void {
    this.#isTimerSet = true;
    // If this process was busy, responses wait in the socket: setImmediate lets them be read first.
    setTimeout(() => setImmediate(() => this.#rejectExpired()), delayMs).unref();
  }

  #rejectExpired(): void {
    const nowMs = performance.now();
    for (const pending of this.#pending) {
      if (pending.deadlineMs > nowMs) {
        this.#setTimer(pending.deadlineMs - nowMs);
        return;
      }
      this.#pending.delete(pending);
      pending.reject(new Error(`no response within ${this.#timeoutMs} ms`));
    }
    this.#isTimerSet = false;
  }
}
