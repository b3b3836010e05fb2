/** Counts since the start of the process, and the present size. */
export interface CacheStats {
  /** Entries returned from the memory of this process. */
  memoryHits: number;
  /** Those of them that had expired and were returned while a new value was loaded. */
  staleHits: number;
  /** NOT_FOUND errors returned from memory. */
  negativeHits: number;
  /** Entries returned from Redis. */
  redisHits: number;
  /** Entries that had to be loaded. */
  misses: number;
  /** Calls that joined a load in progress. */
  coalesced: number;
  /** Loads that used neither tier because Redis was unavailable. */
  bypasses: number;
  /** Entries stored in memory. */
  fills: number;
  /** Entries not stored because one of their tags was invalidated during the load. */
  fencedFills: number;
  /** Commands to Redis that failed. */
  redisFailures: number;
  /** Entries in memory now. */
  entries: number;
  /** The estimated size of these entries. */
  bytes: number;
}

/** The counters of {@link CacheStats}. */
export type CacheCounters = Omit<CacheStats, "entries" | "bytes">;

export function createCacheCounters(): CacheCounters {
  return {
    memoryHits: 0,
    staleHits: 0,
    negativeHits: 0,
    redisHits: 0,
    misses: 0,
    coalesced: 0,
    bypasses: 0,
    fills: 0,
    fencedFills: 0,
    redisFailures: 0,
  };
}
