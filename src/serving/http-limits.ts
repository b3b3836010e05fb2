import type { ActiveCall } from "../interceptors/call.ts";

/** Headers that scripts of web pages may read. */
export const limitHeaders = {
  exposed: ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
};

/**
 * Tells in headers what the caller has left, as draft-ietf-httpapi-ratelimit-headers-03 names it, and a
 * caller with too little when to come back. Known once the call is over.
 */
export function limitHeadersOf({ quota }: ActiveCall): [name: string, value: string][] {
  if (quota === undefined) return [];
  const headers: [string, string][] = [
    ["ratelimit-limit", String(quota.limit)],
    ["ratelimit-remaining", String(quota.remaining)],
    ["ratelimit-reset", wholeSeconds(quota.resetMs)],
  ];
  if (quota.retryAfterMs !== undefined) headers.push(["retry-after", wholeSeconds(quota.retryAfterMs)]);
  return headers;
}

/** Rounded up: whoever waits so long has waited enough. */
function wholeSeconds(milliseconds: number): string {
  return String(Math.ceil(milliseconds / 1_000));
}
