import type { Moment } from "./abandoned-requests.ts";

const TICK_MS = 10;
/** The most that one turn of the event loop counts. */
const MAX_TURN_MS = 20;

/**
 * Measures the time in which the server could read from its connections: a turn of the event loop counts 20 ms at most.
 * An attacker whose requests block the event loop would otherwise look as if it had waited for their responses.
 */
export class ResponsiveClock {
  readonly #timer: NodeJS.Timeout;
  #tickedAtMs = performance.now();
  #countedMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  /** Returns the present moment. */
  now(): Moment {
    const atMs = performance.now();
    return { atMs, responsiveMs: this.#responsiveMs(atMs) };
  }

  #responsiveMs(nowMs: number): number {
    return this.#countedMs + Math.min(nowMs - this.#tickedAtMs, MAX_TURN_MS);
  }

  /** Stops its timer. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#countedMs = this.#responsiveMs(nowMs);
    this.#tickedAtMs = nowMs;
  }
}
