import type { ResponseMetadata } from "../call/response-metadata.ts";
import { ceilSeconds } from "../errors/connect-errors.ts";

/** The headers that scripts of web pages may read. */
export const rateLimitCorsHeaders = {
  exposed: ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
};

/**
 * Adds the headers that state the rest of the caller's budget (draft-ietf-httpapi-ratelimit-headers-03). The error
 * of a rejected call states when to retry.
 */
export function addRateLimitHeaders(
  headers: [name: string, value: string][],
  { rateLimit }: ResponseMetadata,
): void {
  if (rateLimit === undefined) return;
  headers.push(
    ["ratelimit-limit", String(rateLimit.limit)],
    ["ratelimit-remaining", String(rateLimit.remaining)],
    ["ratelimit-reset", String(ceilSeconds(rateLimit.resetMs))],
  );
}
