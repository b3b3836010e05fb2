import type { Cache } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { ActiveCall } from "../call/active-call.ts";
import { durationMs } from "../policy/method-policy.ts";
import { matchesEntityTag } from "./entity-tags.ts";

/** The headers that scripts of web pages may read, and the one that they may send. */
export const cacheCorsHeaders = {
  exposed: ["ETag", "Age", "X-Cartwright-Cache"],
  allowed: ["If-None-Match"],
};

/** The parts of a request and its response that decide about caching by HTTP. */
export interface CacheableExchange {
  isGet: boolean;
  /** Whether the response has a message, not an error. */
  isOk: boolean;
  ifNoneMatch: string | undefined;
  /** The Vary header so far: CORS may have set it. */
  vary: string | undefined;
}

/**
 * Adds the headers that state the result of the cache and, for a GET, how long HTTP caches may store the response
 * (RFC 9111).
 * @returns whether the caller has the content already, and gets 304 without it
 */
export function addCacheHeaders(
  headers: [name: string, value: string][],
  { responseMetadata, setup }: ActiveCall,
  { isGet, isOk, ifNoneMatch, vary }: CacheableExchange,
): boolean {
  const { cache, isPrivate } = responseMetadata;
  if (cache !== undefined) headers.push(["x-cartwright-cache", cache.state]);
  if (!isGet) return false;
  const policy = setup.policy?.cache;
  if (!isOk || cache === undefined || policy === undefined || isPrivate) {
    // Without a header HTTP caches may store it by heuristics, even a 404 or a 405. A response that only staff may
    // request must not reach others who send the same request.
    headers.push(["cache-control", "no-store"]);
    return false;
  }
  headers.push(
    ["cache-control", cacheControl(policy)],
    ["vary", vary === undefined ? "Accept-Encoding" : `${vary}, Accept-Encoding`],
  );
  // The age counts from the creation of the response, not from its delivery. With http_max_age the response counts as
  // validated now: HTTP caches would not use one that was created earlier at all.
  if (policy.httpMaxAge === undefined) headers.push(["age", String(Math.floor(cache.ageMs / 1_000))]);
  if (cache.etag === "") return false;
  // Weak: the content is the same with and without compression, the bytes are not.
  headers.push(["etag", `W/"${cache.etag}"`]);
  return matchesEntityTag(ifNoneMatch, cache.etag);
}

function cacheControl({ freshFor, staleWhileRevalidate, httpMaxAge }: Cache): string {
  if (httpMaxAge !== undefined) return `public, max-age=${floorSeconds(httpMaxAge)}`;
  const staleSeconds = floorSeconds(staleWhileRevalidate);
  const stale = staleSeconds === 0 ? "" : `, stale-while-revalidate=${staleSeconds}`;
  return `public, max-age=${floorSeconds(freshFor)}${stale}`;
}

function floorSeconds(duration: Cache["freshFor"]): number {
  return Math.floor(durationMs(duration) / 1_000);
}
