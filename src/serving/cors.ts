import { cors } from "@connectrpc/connect";
import type { Request, Response } from "./http.ts";

const allowedMethods = cors.allowedMethods.join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization"].join(", ");
const exposedHeaders = cors.exposedHeaders.join(", ");

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
    const origin = request.headers.origin;
    if (origin === undefined) return false;
    const preflight =
      request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
    if (anyone || listed.has(origin)) {
      response.setHeader("access-control-allow-origin", anyone ? "*" : origin);
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
