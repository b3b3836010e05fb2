/** The clocks of a process's caches. */
export interface CacheClock {
  /** The wall clock, in milliseconds since the epoch: when entries expire. */
  wallMs(): number;
  /** A clock that never goes back, in milliseconds: leases, waits and cooldowns. */
  monotonicMs(): number;
  /**
   * Calls back once after `ms` by the monotonic clock.
   * @returns a function that cancels it
   */
  schedule(ms: number, callback: () => void): () => void;
}

export const systemCacheClock: CacheClock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(ms, callback) {
    // A timer may fire up to a millisecond early by the monotonic clock.
    const timer = setTimeout(callback, Math.ceil(ms) + 1);
    return () => clearTimeout(timer);
  },
};
