/** A load in progress. */
export interface Flight<R> {
  /** `TagVersions.current` before it started. */
  readonly version: number;
  /** By the monotonic clock. */
  readonly startedAtMs: number;
  readonly result: Promise<R>;
}

/** The loads in progress, so that concurrent calls for a key share one. */
export class SingleFlight<R> {
  readonly #flights = new Map<string, Flight<R>>();

  get(key: string): Flight<R> | undefined {
    return this.#flights.get(key);
  }

  /** Starts a load and replaces an earlier one of that key for later calls. */
  start(key: string, version: number, startedAtMs: number, load: () => Promise<R>): Flight<R> {
    const result = load().finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight = { version, startedAtMs, result };
    this.#flights.set(key, flight);
    return flight;
  }
}
