import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Cache } from "../../gen/cartwright/policy/v1/policy_pb.ts";
import type { ActiveCall } from "../interceptors/call.ts";
import { durationMs } from "../interceptors/policy.ts";
import type { Response } from "./http.ts";

/** Headers that scripts of web pages may read, and the one that they may send. */
export const cacheHeaders = { exposed: ["ETag", "Age", "X-Cartwright-Cache"], allowed: ["If-None-Match"] };

/**
 * Tells in the headers how our cache answered, and what those of HTTP may do with the answer to a GET
 * (RFC 9111): browsers, proxies.
 * @returns what is to be sent: the answer, or 304 without it for a caller who has it already
 */
export function tellCaches(
  { cached, setup, isPrivate }: ActiveCall,
  { method, header }: UniversalServerRequest,
  answer: UniversalServerResponse,
  response: Response,
): UniversalServerResponse {
  if (cached !== undefined) response.setHeader("x-cartwright-cache", cached.state);
  if (method === "POST") return answer;
  const cache = setup.policy?.cache;
  if (answer.status !== 200 || cached === undefined || cache === undefined || isPrivate) {
    // Where nothing is said caches may guess, even of a 404 or a 405. What only staff may ask for they must not
    // give to those who ask the same.
    response.setHeader("cache-control", "no-store");
    return answer;
  }
  response.setHeader("cache-control", cacheControl(cache));
  // Freshness counts from when the answer was made, not from when it passed by here.
  response.setHeader("age", String(Math.floor(cached.ageMs / 1_000)));
  addVary(response, "Accept-Encoding");
  if (cached.etag === "") return answer;
  // Weak: compressed or not, the content is the same, and the bytes are not.
  response.setHeader("etag", `W/"${cached.etag}"`);
  return hasAlready(header.get("if-none-match"), cached.etag) ? withoutBody(answer) : answer;
}

function cacheControl({ freshFor, staleWhileRevalidate }: Cache): string {
  const staleSeconds = wholeSeconds(staleWhileRevalidate);
  const stale = staleSeconds === 0 ? "" : `, stale-while-revalidate=${staleSeconds}`;
  return `public, max-age=${wholeSeconds(freshFor)}${stale}`;
}

function wholeSeconds(duration: Cache["freshFor"]): number {
  return Math.floor(durationMs(duration) / 1_000);
}

/** Adds to what answers depend on. CORS may have been there before. */
function addVary(response: Response, name: string): void {
  const before = response.getHeader("vary");
  response.setHeader("vary", before === undefined ? name : `${before}, ${name}`);
}

/** A 304: what describes the body that is not sent is not for the body that the caller has. */
function withoutBody(answer: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(answer.header);
  for (const name of ["content-type", "content-length", "content-encoding"]) header.delete(name);
  return { status: 304, header };
}

/** Whether a caller who sends this If-None-Match has the content of that tag. */
function hasAlready(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false;
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
