import { cors } from "@connectrpc/connect";
import type { Request, Response } from "../server/http-pages.ts";
import { cacheHeaders } from "./cache-headers.ts";
import { limitHeaders } from "./rate-limit-headers.ts";

const allowedMethods = cors.allowedMethods.join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization", ...cacheHeaders.allowed].join(", ");
const exposedHeaders = [...cors.exposedHeaders, ...cacheHeaders.exposed, ...limitHeaders.exposed].join(", ");

/** How long browsers may remember a preflight, seconds. Chromium's most. */
const maxAgeSeconds = 7_200;

/** What scripts of web pages may read and send. Cookies are not part of it: callers send a bearer token. */
export interface Cors {
  /** What is said with each answer to a caller from a page of this origin. */
  headersFor(origin: string | undefined): Readonly<Record<string, string>>;
  /** Adds that, and is true when it has answered, which a preflight is. */
  answer(request: Request, response: Response): boolean;
}

/** Lets scripts from these origins call. */
export function createCors(origins: readonly string[]): Cors {
  const anyone = origins.includes("*");
  const listed = new Set(origins);
  // Caches must not give one origin's answer to another.
  const always: Record<string, string> = anyone || origins.length === 0 ? {} : { vary: "Origin" };
  const readable = (reader: string) => ({
    ...always,
    "access-control-allow-origin": reader,
    "access-control-expose-headers": exposedHeaders,
  });
  // Everyone's "*" is for callers without an origin too: a cache may give their answer to a page.
  const forAnyone = anyone ? readable("*") : undefined;
  const headersFor = (origin: string | undefined) =>
    forAnyone ?? (origin !== undefined && listed.has(origin) ? readable(origin) : always);
  return {
    headersFor,
    answer(request, response) {
      if (origins.length === 0) return false;
      const { origin } = request.headers;
      const headers = headersFor(origin);
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      const isPreflight =
        origin !== undefined &&
        request.method === "OPTIONS" &&
        request.headers["access-control-request-method"] !== undefined;
      if (!isPreflight) return false;
      if ("access-control-allow-origin" in headers) {
        response.setHeader("access-control-allow-methods", allowedMethods);
        response.setHeader("access-control-allow-headers", allowedHeaders);
        response.setHeader("access-control-max-age", String(maxAgeSeconds));
      }
      response.statusCode = 204;
      response.end();
      return true;
    },
  };
}
