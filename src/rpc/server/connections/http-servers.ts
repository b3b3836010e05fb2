import { createServer, type Server } from "node:http";
import type { ServerSessionOptions } from "node:http2";
import { MAX_DEADLINE_MS } from "../../policy/policy-errors.ts";
import { MAX_HEADER_BYTES, MAX_HEADER_COUNT, type ServerLimits } from "../server-limits.ts";

/** Creates the HTTP/1.1 server. It does not listen: the listeners hand it connections. */
export function createHttp1Server(limits: ServerLimits): Server {
  const longestCallMs = MAX_DEADLINE_MS + limits.bodyIdleMs;
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: limits.headersMs,
    requestTimeout: longestCallMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(5_000, limits.headersMs),
  });
  server.maxHeadersCount = MAX_HEADER_COUNT;
  // Closes a socket that has had no traffic for this time.
  server.timeout = longestCallMs;
  // Node checks the timeouts above from this event on.
  server.emit("listening");
  return server;
}

/**
 * The options of HTTP/2 sessions. Frames that only cause work end the session, beyond a number of them. nghttp2 handles
 * the others in 0.1 to 0.3 us each (WINDOW_UPDATE, PRIORITY, unknown types), about what reading their bytes costs.
 */
export const http2Options: ServerSessionOptions = {
  settings: { maxConcurrentStreams: 256, maxHeaderListSize: MAX_HEADER_BYTES },
  maxHeaderListPairs: MAX_HEADER_COUNT,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxOutstandingPings: 10,
  maxSettings: 32,
  // A peer may reset 1,000 streams of a connection in a burst, and 100 a second from then on. AddressDebts limits all
  // connections of an address together.
  streamResetBurst: 1_000,
  streamResetRate: 100,
};
