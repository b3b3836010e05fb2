/** The limits that protect the server from its callers. Tests set smaller ones. */
export interface ServerLimits {
  /** The largest message of a request, in bytes, decompressed. */
  maxRequestBytes: number;
  /** The most connections. */
  maxConnections: number;
  /** Connections that each address may have while fewer are free than its share. */
  minConnectionShare: number;
  /** Connections beyond their share or `maxConnections`, which serve one health check each. */
  reservedConnections: number;
  /** Longest time that such a connection stays open. */
  reservedConnectionMs: number;
  /** The most connections of the port for health checks. */
  adminConnections: number;
  /** A stream that its caller resets within this time counts as work without waiting for the response. */
  rapidResetMs: number;
  /** Such streams, and refused header blocks, that an address may cause in a burst, and in each second. */
  resetBurst: number;
  resetsPerSecond: number;
  /** The most addresses whose resets are counted. */
  maxIndebtedAddresses: number;
  /** The interval at which refused header blocks are counted. */
  refusedHeadersMs: number;
  /** Longest wait for the first bytes of a connection, or for its TLS handshake. */
  firstByteMs: number;
  /** Longest wait for the headers of an HTTP/1.1 request. */
  headersMs: number;
  /** Longest wait for the next part of a request's body. */
  bodyIdleMs: number;
  /** Longest wait for the rest of a request whose response is ready, before the response is sent. */
  drainMs: number;
  /** Time for which an incomplete request keeps its slot while its own caller needs another. */
  slotBodyMs: number;
  /** The most bytes of incomplete request bodies; beyond it the caller with the most of them loses its largest. */
  maxReceivedBytes: number;
  /** Longest time for a caller to receive a complete response. */
  deliveryMs: number;
  /** The most concurrent webhooks. */
  maxWebhooks: number;
  /** The largest webhook, in bytes. */
  maxWebhookBytes: number;
  /** Longest wait for the complete body of a webhook. */
  webhookBodyMs: number;
  /** Longest time until a webhook is stored. */
  webhookTimeoutMs: number;
  /** The most bytes of complete responses that all callers have not received; beyond it the oldest are aborted. */
  maxUnsentBytes: number;
  /** Longest time that a handler may run after its deadline, so that a commit in flight is reported. */
  settleMs: number;
  /** The deadline of unary methods of the standard services, which declare no policy. */
  standardTimeoutMs: number;
  /** Idle timeout of HTTP/1.1 connections: longer than the usual 60 s of proxies. */
  keepAliveMs: number;
  /**
   * Time for which an idle HTTP/1.1 connection stays open when a stop begins. A caller who is sending its next request
   * could not determine whether it was read; in this time it gets a response, with "connection: close".
   */
  stopIdleMs: number;
  /** Idle timeout of HTTP/2 connections without a stream. */
  idleSessionMs: number;
  /** The interval of HTTP/2 pings. A connection whose last ping was not acknowledged is ended. */
  pingMs: number;
  /** The interval at which the credentials of open watches, and whether their callers read, are checked. */
  watchCheckMs: number;
  /** Time for which the result of a readiness check is reused. */
  readinessMaxAgeMs: number;
  /** Longest time of a readiness check. */
  readinessTimeoutMs: number;
  /** The interval at which health watches look for a change. */
  healthWatchMs: number;
}

/** The largest message of requests and responses, in bytes, decompressed. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** The limits of the service. */
export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxRequestBytes: MAX_MESSAGE_BYTES,
  maxConnections: 10_000,
  minConnectionShare: 8,
  reservedConnections: 100,
  reservedConnectionMs: 5_000,
  adminConnections: 50,
  rapidResetMs: 100,
  resetBurst: 1_000,
  resetsPerSecond: 100,
  maxIndebtedAddresses: 10_000,
  refusedHeadersMs: 50,
  firstByteMs: 10_000,
  headersMs: 15_000,
  bodyIdleMs: 30_000,
  drainMs: 1_000,
  slotBodyMs: 1_000,
  maxReceivedBytes: 64 * 1024 * 1024,
  deliveryMs: 60_000,
  maxWebhooks: 64,
  maxWebhookBytes: 1024 * 1024,
  webhookBodyMs: 10_000,
  webhookTimeoutMs: 5_000,
  maxUnsentBytes: 64 * 1024 * 1024,
  settleMs: 1_000,
  standardTimeoutMs: 30_000,
  keepAliveMs: 75_000,
  stopIdleMs: 200,
  idleSessionMs: 300_000,
  pingMs: 30_000,
  watchCheckMs: 30_000,
  readinessMaxAgeMs: 1_000,
  readinessTimeoutMs: 2_000,
  healthWatchMs: 1_000,
};

/** The headers of one request, all together. */
export const MAX_HEADER_BYTES = 16 * 1024;

/** The header fields of one request. */
export const MAX_HEADER_COUNT = 100;
