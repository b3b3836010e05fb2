import type { CacheClock } from "./cache-clock.ts";

/** A load in progress. */
export interface Flight<R> {
  /** `TagVersions.current` before it started. */
  readonly version: number;
  /** By the monotonic clock. */
  readonly startedAtMs: number;
  readonly result: Promise<R>;
  /** Resolves for all calls of `waitForEnd`. */
  end?: Promise<void>;
}

/** The loads in progress, so that concurrent calls for a key share one. */
export class SingleFlight<R> {
  readonly #clock: CacheClock;
  readonly #flights = new Map<string, Flight<R>>();

  constructor(clock: CacheClock) {
    this.#clock = clock;
  }

  get(key: string): Flight<R> | undefined {
    return this.#flights.get(key);
  }

  /** Starts a load and replaces an earlier one of that key for later calls. */
  start(key: string, version: number, load: () => Promise<R>): Flight<R> {
    const startedAtMs = this.#clock.monotonicMs();
    const result = load().finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight: Flight<R> = { version, startedAtMs, result };
    this.#flights.set(key, flight);
    return flight;
  }

  /** Waits for the end of a load, for `timeoutMs` from the first call. All waiting calls continue together. */
  waitForEnd(flight: Flight<R>, timeoutMs: number): Promise<void> {
    flight.end ??= new Promise((resolve) => {
      const cancel = this.#clock.schedule(timeoutMs, resolve);
      const finish = () => {
        cancel();
        resolve();
      };
      flight.result.then(finish, finish);
    });
    return flight.end;
  }
}
