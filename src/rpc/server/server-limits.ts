/** The limits that protect the server from its callers. Tests set smaller ones. */
export interface ServerLimits {
  /** The most connections; further ones are closed when they open. */
  maxConnections: number;
  /** How long a connection may be silent before its first request, or its TLS handshake may take. */
  firstByteMs: number;
  /** How long the headers of an HTTP/1.1 request may take. */
  headersMs: number;
  /** How long the next part of a request's body may take. */
  bodyIdleMs: number;
  /** How long the body of a request keeps its slot while the server is at its concurrency limit. */
  slotBodyMs: number;
  /** How long a caller may take to receive a response that is complete. */
  deliveryMs: number;
  /** The most bytes of complete responses that all callers have not received; beyond it the oldest are aborted. */
  maxUnsentBytes: number;
  /** How long a handler may go on after its deadline, so that a commit in flight is reported. */
  settleMs: number;
  /** The deadline of unary methods of the standard services, which declare no policy. */
  standardTimeoutMs: number;
  /** How long an HTTP/1.1 connection is kept without a request: longer than the usual 60 s of proxies. */
  keepAliveMs: number;
  /**
   * How long an idle HTTP/1.1 connection stays open when a stop begins. A caller who is sending its next request could
   * not know whether it was read; in this time it is answered, and told to connect elsewhere.
   */
  stopIdleMs: number;
  /** How long an HTTP/2 connection is kept without a stream. */
  idleSessionMs: number;
  /** The interval of HTTP/2 pings. A connection whose last ping is unanswered is ended. */
  pingMs: number;
  /** How long the result of a readiness check is reused. */
  readinessMaxAgeMs: number;
  /** How long a readiness check may take. */
  readinessTimeoutMs: number;
  /** The interval at which health watches look for a change. */
  healthWatchMs: number;
}

export const defaultServerLimits: ServerLimits = {
  maxConnections: 10_000,
  firstByteMs: 10_000,
  headersMs: 15_000,
  bodyIdleMs: 30_000,
  slotBodyMs: 1_000,
  deliveryMs: 60_000,
  maxUnsentBytes: 64 * 1024 * 1024,
  settleMs: 1_000,
  standardTimeoutMs: 30_000,
  keepAliveMs: 75_000,
  stopIdleMs: 200,
  idleSessionMs: 300_000,
  pingMs: 30_000,
  readinessMaxAgeMs: 1_000,
  readinessTimeoutMs: 2_000,
  healthWatchMs: 1_000,
};

/** The largest message of requests and responses, decompressed. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** The headers of one request, all together. */
export const MAX_HEADER_BYTES = 16 * 1024;

/** The header fields of one request. */
export const MAX_HEADER_COUNT = 100;
