import type { Log } from "../log.ts";

/** Time between a failure and the next trial request, in milliseconds. */
export const COOLDOWN_MS = 1_000;

export interface CircuitBreakerOptions {
  log: Log;
  /** Logged when it opens and when it closes. */
  messages: { opened: string; closed: string };
}

/** Stops requests to another service that has failed, so that calls do not wait for its timeout. Times are of a monotonic clock. */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #isOpen = false;
  #retryAtMs = 0;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** Whether the last request succeeded. */
  get isClosed(): boolean {
    return !this.#isOpen;
  }

  /** Returns whether a request may be sent now: always while closed, once in COOLDOWN_MS while open. */
  allowsRequest(nowMs: number): boolean {
    if (!this.#isOpen) return true;
    if (nowMs < this.#retryAtMs) return false;
    this.#retryAtMs = nowMs + COOLDOWN_MS;
    return true;
  }

  /** Returns the time until the next request may be sent, in milliseconds. */
  retryAfterMs(nowMs: number): number {
    return this.#isOpen ? Math.max(1, Math.ceil(this.#retryAtMs - nowMs)) : COOLDOWN_MS;
  }

  recordFailure(error: unknown, nowMs: number): void {
    this.#retryAtMs = nowMs + COOLDOWN_MS;
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#options.log.warn({ err: error }, this.#options.messages.opened);
  }

  /** Records a request whose caller has left before its outcome: while open, another trial request may follow immediately. */
  recordAbandoned(nowMs: number): void {
    this.#retryAtMs = Math.min(this.#retryAtMs, nowMs);
  }

  recordSuccess(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#options.log.info({}, this.#options.messages.closed);
  }
}
