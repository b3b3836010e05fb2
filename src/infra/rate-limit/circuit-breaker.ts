import type { Log } from "../../kernel/log.ts";

/** How long a server that failed is left alone before one call tries it again, milliseconds. */
const REST_MS = 1_000;

/** Remembers that a server failed, so that not every call waits to see it fail. */
export class CircuitBreaker {
  readonly #log: Log;
  #isOpen = false;
  #tryAgainAtMs = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Whether it has not failed since it last answered. */
  get isClosed(): boolean {
    return !this.#isOpen;
  }

  /** Whether to ask it now. While it fails, the answer is yes once in REST_MS. */
  mayAsk(nowMs: number): boolean {
    if (!this.#isOpen) return true;
    if (nowMs < this.#tryAgainAtMs) return false;
    this.#tryAgainAtMs = nowMs + REST_MS;
    return true;
  }

  /** How long until the next one may try, milliseconds. */
  restMs(nowMs: number): number {
    return this.#isOpen ? Math.max(1, Math.ceil(this.#tryAgainAtMs - nowMs)) : REST_MS;
  }

  failed(error: unknown, nowMs: number): void {
    this.#tryAgainAtMs = nowMs + REST_MS;
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#log.warn({ err: error }, "limits are kept by this process alone; redis does not answer");
  }

  succeeded(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#log.info({}, "limits are shared again");
  }
}
