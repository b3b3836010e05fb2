import type { IncomingHttpHeaders } from "node:http";

/** The header that holds the token of an order. It is never read from a URL, which proxies log. */
export const ORDER_TOKEN_HEADER = "x-order-token";

/** Longest order token, in UTF-16 units. Longer ones are truncated, which makes them invalid. */
const MAX_ORDER_TOKEN_LENGTH = 128;

/** Returns the order token of a request; empty without one. Several are joined, which makes them invalid. */
export function readOrderToken(headers: IncomingHttpHeaders): string {
  const token = headers[ORDER_TOKEN_HEADER];
  return typeof token === "string" ? token.slice(0, MAX_ORDER_TOKEN_LENGTH) : "";
}
