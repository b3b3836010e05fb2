import { contentHash } from "../../kernel/canonical-json.ts";
import type { AppError } from "../../kernel/errors.ts";

/** An answer that may be given again, asked for. Times are milliseconds. */
export interface CacheRequest<T> {
  /** The same for the same question, and short. */
  key: string;
  /** What the answer is made of. */
  tags: readonly string[];
  /** How old it may be. */
  freshMs: number;
  /** For how much longer it may be given while a new one is made. */
  staleMs: number;
  /** Makes it. Others who ask meanwhile get the same, so it must not depend on who asks or how long he stays. */
  load(): Promise<T>;
  encode(value: T): Uint8Array;
  /** Absent: Redis is neither asked nor told. May throw for what was not encoded here. */
  decode?(bytes: Uint8Array): T;
}

/** An answer as it is kept: the value, or the error that says that there is none. */
export interface Entry<T> {
  readonly outcome: { readonly value: T } | { readonly error: AppError };
  /** Names its content; empty for errors. */
  readonly etag: string;
  /** What it is made of, and the tick of the tag log before it was made. */
  readonly tags: readonly string[];
  readonly version: number;
  /** Milliseconds of the wall clock. */
  readonly loadedAtMs: number;
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
  /** What it takes in memory, estimated. */
  readonly bytes: number;
}

/** How long it is believed that something does not exist, milliseconds. */
const NEGATIVE_MS = 5_000;
/** Answers of one moment must not all end at one moment: they end up to this share earlier. */
const JITTER = 0.1;
/**
 * What an answer takes in memory, for each byte on the wire and besides. Measured on products, alone and in pages:
 * it is what bare ones take, and up to twice what those with long texts do.
 */
const MEMORY_PER_BYTE = 9;
const MEMORY_PER_ENTRY = 1_500;

/** An answer with a value. @param payload the value, encoded */
export function createEntry<T>(
  { tags, freshMs, staleMs }: CacheRequest<T>,
  value: T,
  payload: Uint8Array,
  { since, madeAtMs }: { since: number; madeAtMs: number },
): Entry<T> {
  const freshUntilMs = madeAtMs + freshMs * (1 - JITTER * Math.random());
  return {
    ...{ tags, version: since, loadedAtMs: madeAtMs, freshUntilMs },
    outcome: { value },
    etag: contentHash(payload),
    staleUntilMs: freshUntilMs + staleMs,
    bytes: MEMORY_PER_ENTRY + MEMORY_PER_BYTE * payload.length,
  };
}

/** That there is no answer. It is believed for seconds, and not shared. */
export function createNegativeEntry<T>({ tags }: CacheRequest<T>, error: AppError, since: number): Entry<T> {
  const madeAtMs = Date.now();
  const untilMs = madeAtMs + NEGATIVE_MS;
  return {
    ...{ tags, version: since, loadedAtMs: madeAtMs, freshUntilMs: untilMs, staleUntilMs: untilMs },
    outcome: { error },
    etag: "",
    bytes: 2 * MEMORY_PER_ENTRY,
  };
}
