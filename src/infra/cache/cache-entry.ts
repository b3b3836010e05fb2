import { contentHash } from "../../kernel/canonical-json.ts";
import type { AppError } from "../../kernel/errors.ts";
import { THROTTLE_MS } from "./invalidation/invalidation-throttle.ts";

/** A request for a value that may be cached. */
export interface CacheRequest<T> {
  /** Identifies the value; short. */
  key: string;
  /** The tags whose invalidation makes the value stale, as far as the request determines them. */
  tags: readonly string[];
  /** Returns further tags, which the value determines: those of the resources that it shows. */
  tagsOf?(value: T): readonly string[];
  /** Time for which the value is fresh, in milliseconds. */
  freshMs: number;
  /** Additional time for which an expired value may be returned while a new one is loaded, in milliseconds. */
  staleMs: number;
  /** Loads the value. Its result is shared by all callers: it must not depend on the caller or its deadline. */
  load(): Promise<T>;
  encode(value: T): Uint8Array;
  /** Without it the value is not stored in Redis. May throw for bytes that `encode` did not write. */
  decode?(bytes: Uint8Array): T;
}

/** The state of this process before a value was loaded. */
export interface LoadStart {
  /** `TagVersions.current`. */
  readonly version: number;
  /** The time, by the monotonic clock of this process. */
  readonly startedAtMs: number;
}

/** A cached value, or a cached `not_found` error. */
export interface Entry<T> {
  readonly outcome: { readonly value: T } | { readonly error: AppError };
  /** A hash of the content; empty for errors. */
  readonly etag: string;
  /** The tags of the request, followed by those of the value. */
  readonly tags: readonly string[];
  /** When the load started by the wall clock of the process that loaded it, in milliseconds since the epoch. */
  readonly loadedAtMs: number;
  /** When the load started by the monotonic clock; undefined if another process loaded it. */
  readonly startedAtMs: number | undefined;
  /** The estimated size in memory. */
  readonly bytes: number;
  /** A value of `TagVersions.current` at which the entry was current: before its load, or later. */
  version: number;
  /** Times by the monotonic clock. A throttled invalidation makes them earlier. */
  freshUntilMs: number;
  staleUntilMs: number;
}

/** Time for which a `not_found` error is cached, in milliseconds. */
const NEGATIVE_TTL_MS = 5_000;
/** Share of its lifetime by which an entry may expire earlier, so that entries loaded together do not expire together. */
const JITTER = 0.1;
/**
 * Estimated size of an entry in memory: a factor for its encoded bytes, and a constant. Measured with products and
 * pages of them: exact for products without texts, up to twice the real size for those with long texts.
 */
const MEMORY_PER_BYTE = 9;
const MEMORY_PER_ENTRY = 1_500;
const MEMORY_PER_TAG = 110;
/** Time after which an entry that may lack throttled changes is refreshed, so that no call waits for its successor. */
const REFRESH_AFTER_MS = 0.7 * THROTTLE_MS;

/** Creates the entry of a value that was loaded by this process. */
export function createEntry<T>(
  request: CacheRequest<T>,
  value: T,
  payload: Uint8Array,
  { version, startedAtMs, loadedAtMs }: LoadStart & { loadedAtMs: number },
): Entry<T> {
  return entryOf(request, value, payload, { version, startedAtMs, loadedAtMs, freshFromMs: startedAtMs });
}

/**
 * Creates the entry of a value that another process loaded.
 * @param ageMs the time since its load, by the wall clocks
 */
export function createSharedEntry<T>(
  request: CacheRequest<T>,
  value: T,
  payload: Uint8Array,
  { version, startedAtMs, loadedAtMs, ageMs }: LoadStart & { loadedAtMs: number; ageMs: number },
): Entry<T> {
  const freshFromMs = startedAtMs - ageMs;
  return entryOf(request, value, payload, { version, startedAtMs: undefined, loadedAtMs, freshFromMs });
}

function entryOf<T>(
  request: CacheRequest<T>,
  value: T,
  payload: Uint8Array,
  {
    freshFromMs,
    ...load
  }: Pick<Entry<T>, "version" | "startedAtMs" | "loadedAtMs"> & { freshFromMs: number },
): Entry<T> {
  const tags = request.tagsOf === undefined ? request.tags : withOwnTags(request.tags, request.tagsOf(value));
  const freshUntilMs = freshFromMs + request.freshMs * (1 - JITTER * Math.random());
  return {
    outcome: { value },
    etag: contentHash(payload),
    tags,
    ...load,
    freshUntilMs,
    staleUntilMs: freshUntilMs + request.staleMs,
    bytes: MEMORY_PER_ENTRY + MEMORY_PER_BYTE * payload.length + MEMORY_PER_TAG * tags.length,
  };
}

/** Returns the tags of a request, followed by those of its value that it has not. */
function withOwnTags(tags: readonly string[], ownTags: readonly string[]): readonly string[] {
  const added = new Set(ownTags);
  for (const tag of tags) added.delete(tag);
  return [...tags, ...added];
}

/** Creates the entry of a `not_found` error, which expires after a time from its creation. */
export function createNegativeEntry<T>(
  { tags }: CacheRequest<T>,
  error: AppError,
  { version, startedAtMs, loadedAtMs, nowMs }: LoadStart & { loadedAtMs: number; nowMs: number },
): Entry<T> {
  const expiresAtMs = nowMs + NEGATIVE_TTL_MS;
  return {
    outcome: { error },
    etag: "",
    tags,
    version,
    startedAtMs,
    loadedAtMs,
    freshUntilMs: expiresAtMs,
    staleUntilMs: expiresAtMs,
    bytes: 2 * MEMORY_PER_ENTRY,
  };
}

/**
 * Limits the use of an entry that may lack throttled changes to THROTTLE_MS from the start of its load, and refreshes it
 * ahead of that. An entry of another process is not used any more: the start of its load is not known exactly.
 */
export function limitLifetime(entry: Entry<unknown>): void {
  const startedAtMs = entry.startedAtMs ?? Number.NEGATIVE_INFINITY;
  entry.freshUntilMs = Math.min(entry.freshUntilMs, startedAtMs + REFRESH_AFTER_MS);
  entry.staleUntilMs = Math.min(entry.staleUntilMs, startedAtMs + THROTTLE_MS);
}
