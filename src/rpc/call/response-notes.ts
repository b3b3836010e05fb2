import type { Decision } from "../../infra/rate-limit/limiter.ts";

/** How the cache answered a call. */
export interface CacheNote {
  /** The tier that had the response; `miss`: none, `bypass`: the cache was not used. */
  readonly state: "memory" | "redis" | "miss" | "bypass";
  /** The tag of the content, without quotes; empty for errors and when no header needs it. */
  readonly etag: string;
  /** The age of the response, milliseconds. */
  readonly ageMs: number;
}

/** The facts that interceptors note during a call and that its response headers state. */
export interface ResponseNotes {
  /** Set by the cache interceptor, for methods with a cache policy. */
  cache: CacheNote | undefined;
  /** Set by the rate limiter, for methods with a policy. */
  rateLimit: Decision | undefined;
  /** The response is not for everyone who sends the same request: HTTP caches must not store it. */
  isPrivate: boolean;
  /** Connect's own header and trailer of the response, which an interceptor that answers must return. */
  connect: { readonly header: Headers; readonly trailer: Headers } | undefined;
}
