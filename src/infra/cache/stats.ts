/** What the cache has done since the process started, and what it holds now. */
export interface CacheStats {
  /** Answers from the memory of this process; those of them that were past their time, while a new one was made. */
  memoryHits: number;
  staleHits: number;
  /** "There is no such thing", given again. */
  negativeHits: number;
  /** Answers from Redis. */
  redisHits: number;
  /** Answers that had to be made. */
  misses: number;
  /** Calls that waited for an answer that was being made for another. */
  coalesced: number;
  /** Answers that were made without asking either tier, since they could not be relied upon. */
  bypasses: number;
  /** Answers that were kept. */
  fills: number;
  /** Answers that were not kept, for a write came while they were made. */
  fencedFills: number;
  /** Times that Redis did not do what it was asked. */
  redisFailures: number;
  /** Tags that this process has bumped. */
  invalidations: number;
  /** What is in memory: answers, and what they take, estimated. */
  entries: number;
  bytes: number;
}

/** The part of them that is counted. */
export type CacheCounters = Omit<CacheStats, "entries" | "bytes">;

export function createCacheCounters(): CacheCounters {
  return {
    ...{ memoryHits: 0, staleHits: 0, negativeHits: 0, redisHits: 0, misses: 0, coalesced: 0 },
    ...{ bypasses: 0, fills: 0, fencedFills: 0, redisFailures: 0, invalidations: 0 },
  };
}
