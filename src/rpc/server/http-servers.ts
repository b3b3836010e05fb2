import { createServer as createNodeHttp1Server, type Server as Http1Server } from "node:http";
import { createServer as createNodeHttp2Server, type Http2Server } from "node:http2";
import type { Log } from "../../kernel/log.ts";
import { MAX_DEADLINE_MS } from "../policy/policy-errors.ts";
import { MAX_HEADER_BYTES, MAX_HEADER_COUNT, type ServerLimits } from "./server-limits.ts";

/** Creates the HTTP/1.1 server. It does not listen: the listener hands it connections. */
export function createHttp1Server(limits: ServerLimits): Http1Server {
  const longestCallMs = MAX_DEADLINE_MS + limits.bodyIdleMs;
  const server = createNodeHttp1Server({
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

/** Creates the HTTP/2 server. It does not listen: the listener hands it connections. */
export function createHttp2Server(log: Log): Http2Server {
  const server = createNodeHttp2Server({
    settings: { maxConcurrentStreams: 256, maxHeaderListSize: MAX_HEADER_BYTES },
    maxHeaderListPairs: MAX_HEADER_COUNT,
    // Frames that only cause work: a connection that sends more of them is ended.
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxOutstandingPings: 10,
    maxSettings: 32,
    // A peer may reset 1,000 streams in a burst, and 100 a second from then on.
    streamResetBurst: 1_000,
    streamResetRate: 100,
  });
  server.on("sessionError", (error) => log.debug({ err: error }, "HTTP/2 session failed"));
  return server;
}
