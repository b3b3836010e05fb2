import type { ActiveCall } from "../call/active-call.ts";

/** Headers that scripts of web pages may read. */
export const limitHeaders = {
  exposed: ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
};

/**
 * Tells in headers what the caller has left, as draft-ietf-httpapi-ratelimit-headers-03 names it. Known once the
 * call is over. When to come back is told by the error of who has too little.
 */
export function limitHeadersOf({ quota }: ActiveCall): [name: string, value: string][] {
  if (quota === undefined) return [];
  return [
    ["ratelimit-limit", String(quota.limit)],
    ["ratelimit-remaining", String(quota.remaining)],
    ["ratelimit-reset", wholeSeconds(quota.resetMs)],
  ];
}

/** Rounded up: whoever waits so long has waited enough. */
function wholeSeconds(milliseconds: number): string {
  return String(Math.ceil(milliseconds / 1_000));
}
