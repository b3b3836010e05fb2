import type { Decision } from "../../infra/rate-limit/limiter.ts";

/** The result of the cache for a call. */
export interface CacheMetadata {
  /** The tier that had the response; `miss`: none, `bypass`: the cache was not used. */
  readonly state: "memory" | "redis" | "miss" | "bypass";
  /** The tag of the content, without quotes; empty for errors and when no header needs it. */
  readonly etag: string;
  /** The age of the response, in milliseconds. */
  readonly ageMs: number;
}

/** The facts that interceptors record during a call and that its response headers state. */
export interface ResponseMetadata {
  /** Set by the cache interceptor, for methods with a cache policy. */
  cache: CacheMetadata | undefined;
  /** Set by the rate limiter, for methods with a policy. */
  rateLimit: Decision | undefined;
  /** Whether the response depends on the caller: HTTP caches must not store it. */
  isPrivate: boolean;
  /**
   * The header and trailer that the handler sets: from the start in a call through Connect, where an interceptor that
   * responds must return them, and once the handler runs on the fast path. An error is sent with them too.
   */
  handler: { readonly header: Headers; readonly trailer: Headers } | undefined;
}
