import { contentHash } from "../../kernel/canonical-json.ts";
import type { AppError } from "../../kernel/errors.ts";

/** A request for a value that may be cached. */
export interface CacheRequest<T> {
  /** Identifies the value; short. */
  key: string;
  /** The tags whose invalidation makes the value stale. */
  tags: readonly string[];
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

/** A cached value, or a cached `not_found` error. */
export interface Entry<T> {
  readonly outcome: { readonly value: T } | { readonly error: AppError };
  /** A hash of the content; empty for errors. */
  readonly etag: string;
  readonly tags: readonly string[];
  /** `TagVersions.current` before the value was loaded. */
  readonly version: number;
  /** Times by the wall clock, in milliseconds since the epoch. */
  readonly loadedAtMs: number;
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
  /** The estimated size in memory. */
  readonly bytes: number;
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

/**
 * Creates the entry of a value.
 * @param payload the encoded value
 */
export function createEntry<T>(
  { tags, freshMs, staleMs }: CacheRequest<T>,
  value: T,
  payload: Uint8Array,
  { version, loadedAtMs }: { version: number; loadedAtMs: number },
): Entry<T> {
  const freshUntilMs = loadedAtMs + freshMs * (1 - JITTER * Math.random());
  return {
    outcome: { value },
    etag: contentHash(payload),
    tags,
    version,
    loadedAtMs,
    freshUntilMs,
    staleUntilMs: freshUntilMs + staleMs,
    bytes: MEMORY_PER_ENTRY + MEMORY_PER_BYTE * payload.length,
  };
}

/** Creates the entry of a `not_found` error. */
export function createNegativeEntry<T>(
  { tags }: CacheRequest<T>,
  error: AppError,
  { version, loadedAtMs }: { version: number; loadedAtMs: number },
): Entry<T> {
  const expiresAtMs = loadedAtMs + NEGATIVE_TTL_MS;
  return {
    outcome: { error },
    etag: "",
    tags,
    version,
    loadedAtMs,
    freshUntilMs: expiresAtMs,
    staleUntilMs: expiresAtMs,
    bytes: 2 * MEMORY_PER_ENTRY,
  };
}
