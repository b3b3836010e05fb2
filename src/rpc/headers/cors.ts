import { cors } from "@connectrpc/connect";
import type { Request, Response } from "../server/node-http.ts";
import { cacheCorsHeaders } from "./cache-headers.ts";
import { ORDER_TOKEN_HEADER } from "./order-token.ts";
import { rateLimitCorsHeaders } from "./rate-limit-headers.ts";

const allowedMethods = cors.allowedMethods.join(", ");
/** The headers of distributed tracing: W3C Trace Context and Baggage. */
const TRACING_HEADERS = ["traceparent", "tracestate", "baggage"];
const defaultHeaders = [
  ...cors.allowedHeaders,
  "Authorization",
  ...cacheCorsHeaders.allowed,
  ...TRACING_HEADERS,
  ORDER_TOKEN_HEADER,
];
const exposedHeaders = [
  ...cors.exposedHeaders,
  ...cacheCorsHeaders.exposed,
  ...rateLimitCorsHeaders.exposed,
].join(", ");

/** Longest time that browsers may cache a preflight, in seconds. The maximum of Chromium. */
const MAX_AGE_SECONDS = 7_200;

/** Cross-origin resource sharing for scripts of web pages. Without cookies: callers send a bearer token. */
export interface Cors {
  /** Returns the headers of each response to a page of this origin; undefined: the caller is not a page. */
  headersFor(origin: string | undefined): Readonly<Record<string, string>>;
  /**
   * Sets these headers, and responds to preflights.
   * @returns whether it responded
   */
  handle(request: Request, response: Response): boolean;
}

/**
 * Creates CORS.
 * @param origins of the pages that may call; "*" allows all of them
 * @param headers that these pages may send, beside those of calls and of tracing
 */
export function createCors(origins: readonly string[], headers: readonly string[] = []): Cors {
  const allowedHeaders = [...defaultHeaders, ...headers].join(", ");
  const isOpen = origins.includes("*");
  const allowed = new Set(origins);
  // HTTP caches must not serve the response for one origin to another.
  const common: Record<string, string> = isOpen || origins.length === 0 ? {} : { vary: "Origin" };
  const headersForOrigin = (origin: string) => ({
    ...common,
    "access-control-allow-origin": origin,
    "access-control-expose-headers": exposedHeaders,
  });
  // Set for callers without an origin too: an HTTP cache may serve their response to a page.
  const openHeaders = isOpen ? headersForOrigin("*") : undefined;
  const headersFor = (origin: string | undefined) =>
    openHeaders ?? (origin !== undefined && allowed.has(origin) ? headersForOrigin(origin) : common);
  return {
    headersFor,
    handle(request, response) {
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
        response.setHeader("access-control-max-age", String(MAX_AGE_SECONDS));
      }
      response.statusCode = 204;
      response.end();
      return true;
    },
  };
}
