import { cors } from "@connectrpc/connect";
import type { Request, Response } from "./http.ts";
import { cacheHeaders } from "./http-cache.ts";
import { limitHeaders } from "./http-limits.ts";

const allowedMethods = cors.allowedMethods.join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization", ...cacheHeaders.allowed].join(", ");
const exposedHeaders = [...cors.exposedHeaders, ...cacheHeaders.exposed, ...limitHeaders.exposed].join(", ");

/** How long browsers may remember a preflight, seconds. Chromium's most. */
const maxAgeSeconds = 7_200;

/**
 * Lets scripts from these origins read answers. Cookies are not part of it: callers send a bearer token.
 * @returns a function that adds the headers and is true when it has answered, which a preflight is
 */
export function createCors(origins: readonly string[]): (request: Request, response: Response) => boolean {
  if (origins.length === 0) return () => false;
  const anyone = origins.includes("*");
  const listed = new Set(origins);
  return (request, response) => {
    // Caches must not give one origin's answer to another.
    if (!anyone) response.setHeader("vary", "Origin");
    const { origin } = request.headers;
    const preflight =
      origin !== undefined &&
      request.method === "OPTIONS" &&
      request.headers["access-control-request-method"] !== undefined;
    // Everyone's "*" is for callers without an origin too: a cache may give their answer to a page.
    const reader = anyone ? "*" : origin !== undefined && listed.has(origin) ? origin : undefined;
    if (reader !== undefined) {
      response.setHeader("access-control-allow-origin", reader);
      response.setHeader("access-control-expose-headers", exposedHeaders);
      if (preflight) {
        response.setHeader("access-control-allow-methods", allowedMethods);
        response.setHeader("access-control-allow-headers", allowedHeaders);
        response.setHeader("access-control-max-age", String(maxAgeSeconds));
      }
    }
    if (!preflight) return false;
    response.statusCode = 204;
    response.end();
    return true;
  };
}
