/** The clocks of a process's caches. */
export interface CacheClock {
  /** The wall clock, in milliseconds since the epoch: when entries expire. */
  wallMs(): number;
  /** A clock that never goes back, in milliseconds: leases, waits and cooldowns. */
  monotonicMs(): number;
}

export const systemCacheClock: CacheClock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
