/** What one caller can take of the server. Tests set smaller ones. */
export interface ServerLimits {
  /** Connections at once; further ones are closed at once. */
  maxConnections: number;
  /** How long a connection may say nothing before its first request. */
  firstByteMs: number;
  /** How long the headers of an HTTP/1.1 request may take. */
  headersMs: number;
  /** How long the next part of a request's body may take. */
  bodyIdleMs: number;
  /** How long a caller may take to receive an answer that is complete. */
  deliveryMs: number;
  /** Bytes of answers, of all callers, that are complete and not received; beyond it the oldest are given up. */
  maxUntakenBytes: number;
  /** How long a handler may go on after its deadline, so that a commit in flight is told of. */
  settleMs: number;
  /** The deadline of unary methods of other people's protocols, which declare no policy. */
  plainTimeoutMs: number;
  /** How long an HTTP/1.1 connection is kept without a request: longer than the usual 60 s of proxies. */
  keepAliveMs: number;
  /** How long an HTTP/2 connection is kept without a stream. */
  idleSessionMs: number;
  /** How often HTTP/2 peers are asked for a sign of life; two missed in a row end the connection. */
  pingMs: number;
}

export const defaultServerLimits: ServerLimits = {
  maxConnections: 10_000,
  firstByteMs: 10_000,
  headersMs: 15_000,
  bodyIdleMs: 30_000,
  deliveryMs: 60_000,
  maxUntakenBytes: 64 * 1024 * 1024,
  settleMs: 1_000,
  plainTimeoutMs: 30_000,
  keepAliveMs: 75_000,
  idleSessionMs: 300_000,
  pingMs: 30_000,
};

/** The largest message, either way, once decompressed. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** The headers of one request, all together. */
export const maxHeaderBytes = 16 * 1024;

/** The header fields of one request. */
export const maxHeaderCount = 100;
