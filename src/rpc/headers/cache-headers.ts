import type { Cache } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { ActiveCall } from "../call/active-call.ts";
import { durationMs } from "../policy/method-policy.ts";

/** Headers that scripts of web pages may read, and the one that they may send. */
export const cacheHeaders = { exposed: ["ETag", "Age", "X-Cartwright-Cache"], allowed: ["If-None-Match"] };

/** What is to be known of a request and its answer. */
export interface Exchanged {
  isGet: boolean;
  /** The answer is one, and no error. */
  isOk: boolean;
  ifNoneMatch: string | undefined;
  /** What answers depend on already: CORS may have said so. */
  vary: string | undefined;
}

/**
 * Tells in headers how our cache answered, and what those of HTTP may do with the answer to a GET
 * (RFC 9111): browsers, proxies. A caller who has the answer already gets 304 without it.
 */
export function cacheHeadersOf(
  { cached, setup, isPrivate }: ActiveCall,
  { isGet, isOk, ifNoneMatch, vary }: Exchanged,
): { headers: [name: string, value: string][]; isNotModified: boolean } {
  const headers: [string, string][] = cached === undefined ? [] : [["x-cartwright-cache", cached.state]];
  if (!isGet) return { headers, isNotModified: false };
  const cache = setup.policy?.cache;
  if (!isOk || cached === undefined || cache === undefined || isPrivate) {
    // Where nothing is said caches may guess, even of a 404 or a 405. What only staff may ask for they must not
    // give to those who ask the same.
    headers.push(["cache-control", "no-store"]);
    return { headers, isNotModified: false };
  }
  headers.push(
    ["cache-control", cacheControl(cache)],
    // Freshness counts from when the answer was made, not from when it passed by here.
    ["age", String(Math.floor(cached.ageMs / 1_000))],
    ["vary", vary === undefined ? "Accept-Encoding" : `${vary}, Accept-Encoding`],
  );
  if (cached.etag === "") return { headers, isNotModified: false };
  // Weak: compressed or not, the content is the same, and the bytes are not.
  headers.push(["etag", `W/"${cached.etag}"`]);
  return { headers, isNotModified: hasAlready(ifNoneMatch, cached.etag) };
}

function cacheControl({ freshFor, staleWhileRevalidate }: Cache): string {
  const staleSeconds = wholeSeconds(staleWhileRevalidate);
  const stale = staleSeconds === 0 ? "" : `, stale-while-revalidate=${staleSeconds}`;
  return `public, max-age=${wholeSeconds(freshFor)}${stale}`;
}

function wholeSeconds(duration: Cache["freshFor"]): number {
  return Math.floor(durationMs(duration) / 1_000);
}

/** Whether a caller who sends this If-None-Match has the content of that tag. */
function hasAlready(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch === "*" || parseEntityTags(ifNoneMatch).includes(etag);
}

/** One tag with its quotes; commas and even backslashes may be in it. */
const entityTag = /(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/y;

/**
 * The tags of an If-None-Match (RFC 9110, 8.8.3 and 13.1.2), without quotes and without the W/, which a weak
 * comparison leaves out. None when anything in it is malformed. Takes one step a character, whatever comes.
 */
export function parseEntityTags(list: string): string[] {
  const tags: string[] = [];
  let separated = true;
  for (let at = 0; at < list.length; ) {
    const char = list[at];
    if (char === " " || char === "\t" || char === ",") {
      separated ||= char === ",";
      at += 1;
      continue;
    }
    entityTag.lastIndex = at;
    const tag = separated ? entityTag.exec(list)?.[1] : undefined;
    if (tag === undefined) return [];
    tags.push(tag);
    separated = false;
    at = entityTag.lastIndex;
  }
  return tags;
}
