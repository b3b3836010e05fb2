import type { ActiveCall } from "../call/active-call.ts";
import { addCacheHeaders, type CacheableExchange } from "./cache-headers.ts";
import { addRateLimitHeaders } from "./rate-limit-headers.ts";

/** The headers that describe a body. A 304 has none, and the caller's copy keeps its own. */
export const contentHeaderNames = ["content-type", "content-length", "content-encoding"];

/** The headers that a response gets beside those of its protocol. */
export interface ResponseHeaders {
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Whether the response is 304 without a body: the caller has the content already. */
  readonly isNotModified: boolean;
}

/** Returns the headers that state what the interceptors recorded of a call: rate limit and cache. */
export function responseHeaders(call: ActiveCall, exchange: CacheableExchange): ResponseHeaders {
  const headers: [string, string][] = [];
  addRateLimitHeaders(headers, call.responseMetadata);
  const isNotModified = addCacheHeaders(headers, call, exchange);
  return { headers, isNotModified };
}
