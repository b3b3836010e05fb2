import type { ActiveCall } from "../interceptors/call.ts";
import type { Response } from "./http.ts";

/** Headers that scripts of web pages may read. */
export const limitHeaders = {
  exposed: ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
};

/**
 * Tells in the headers what the caller has left, as draft-ietf-httpapi-ratelimit-headers-03 names it, and a
 * caller with too little when to come back. To be called before the answer is written.
 */
export function tellLimits({ quota }: ActiveCall, response: Response): void {
  if (quota === undefined) return;
  response.setHeader("ratelimit-limit", String(quota.limit));
  response.setHeader("ratelimit-remaining", String(quota.remaining));
  response.setHeader("ratelimit-reset", wholeSeconds(quota.resetMs));
  if (quota.retryAfterMs !== undefined) response.setHeader("retry-after", wholeSeconds(quota.retryAfterMs));
}

/** Rounded up: whoever waits so long has waited enough. */
function wholeSeconds(milliseconds: number): string {
  return String(Math.ceil(milliseconds / 1_000));
}
