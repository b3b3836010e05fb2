import {
  type Http2Session,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { errorCode } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import type { ServerLimits } from "../server-limits.ts";
import type { Connection } from "./connection.ts";
import { http2Options } from "./http-servers.ts";

/** Dependencies of the sessions. */
export interface Http2SessionsOptions {
  limits: ServerLimits;
  /** Charges the peer of a connection for work that it caused and does not wait for, in units of one reset stream. */
  charge(connection: Connection, units: number): void;
  log: Log;
}

/** A stream and when it was opened, in milliseconds of `performance.now()`. */
interface OpenedStream {
  readonly stream: ServerHttp2Stream;
  readonly atMs: number;
}

/** The state of one HTTP/2 connection. */
interface SessionState {
  readonly connection: Connection;
  /** The streams whose headers were accepted. */
  streams: number;
  /** The stream that was opened last, while it is open. */
  last: OpenedStream | undefined;
  /** The streams that the peer has reset soon after it opened them, since the last ping. */
  resets: number;
  /** The streams whose headers were refused, as far as they have been charged. */
  refused: number;
  /** When its last stream ended, in milliseconds of `performance.now()`. */
  idleSinceMs: number;
  isPingPending: boolean;
  /** Whether the connection is closed, which ends its streams. */
  isClosed: boolean;
}

/**
 * The charge for a violation of the protocol that ends a session, such as too many pings, settings or invalid frames:
 * nghttp2 has handled about as many frames of that kind before.
 */
const VIOLATION_UNITS = 100;

/** The errors of sessions that nghttp2 or Node ended. A peer that ends its session with an error has others. */
const VIOLATION_CODES: ReadonlySet<string> = new Set([
  "ERR_HTTP2_ERROR",
  "ERR_HTTP2_TOO_MANY_INVALID_FRAMES",
]);

/**
 * The charge for a header block that is refused. nghttp2 decompresses 15 kB of it in 0.25 ms, as long as a few streams
 * that are opened and reset.
 */
const REFUSED_HEADERS_UNITS = 5;

/** The resets of a connection after which its further streams are handled one turn of the event loop later. */
const MAX_UNSUSPICIOUS_RESETS = 10;

/** The most sessions whose refused header blocks are counted in one turn. */
const MAX_COUNTED_SESSIONS = 1_000;

/**
 * The HTTP/2 connections of a server. Ends idle ones and those whose peer does not acknowledge pings, and charges peers
 * for streams that they reset and for headers that are refused.
 */
export class Http2Sessions {
  readonly #sessions = new Map<Http2Session, SessionState>();
  /** The sessions whose refused header blocks are counted next. */
  #uncounted = this.#sessions.entries();
  /** The streams that have been charged as reset. */
  readonly #charged = new WeakSet<ServerHttp2Stream>();
  readonly #options: Http2SessionsOptions;
  readonly #pingTimer: NodeJS.Timeout;
  readonly #chargeTimer: NodeJS.Timeout;

  constructor(options: Http2SessionsOptions) {
    this.#options = options;
    const { pingMs, refusedHeadersMs } = options.limits;
    this.#pingTimer = setInterval(() => this.#checkAll(), pingMs).unref();
    this.#chargeTimer = setInterval(() => this.#chargeSomeRefused(), refusedHeadersMs).unref();
  }

  /** Takes a connection that speaks HTTP/2. */
  open(socket: Socket, connection: Connection): void {
    const session = performServerHandshake(socket, http2Options);
    connection.session = session;
    const state: SessionState = {
      connection,
      streams: 0,
      last: undefined,
      resets: 0,
      refused: 0,
      idleSinceMs: performance.now(),
      isPingPending: false,
      isClosed: false,
    };
    this.#sessions.set(session, state);
    session.on("close", () => this.#sessions.delete(session));
    session.on("error", (error) => {
      this.#options.log.debug({ err: error }, "HTTP/2 session failed");
      if (VIOLATION_CODES.has(errorCode(error))) this.#options.charge(connection, VIOLATION_UNITS);
    });
    // Before the session handles the same event, after which its state cannot be read.
    socket.prependOnceListener("close", () => {
      this.#chargeRefused(session, state);
      state.isClosed = true;
    });
    session.on("stream", (stream, headers, flags, rawHeaders) => {
      this.#track(session, state, stream);
      const { handlers, peer } = connection;
      if (state.resets < MAX_UNSUSPICIOUS_RESETS) {
        handlers.onHttp2Stream(stream, headers, flags, rawHeaders, peer.address);
        return;
      }
      // The resets that follow their streams in the same read come first. A stream that was reset costs no call then.
      setImmediate(() => {
        if (stream.closed || stream.destroyed) return;
        handlers.onHttp2Stream(stream, headers, flags, rawHeaders, peer.address);
      });
    });
  }

  /** Returns the address of the peer; undefined when the session is closed. */
  peerOf(session: Http2Session | undefined): string | undefined {
    return session === undefined ? undefined : this.#sessions.get(session)?.connection.peer.address;
  }

  /**
   * Sends GOAWAY to all peers; open streams may finish. GOAWAY names the last stream that is served, which shows
   * callers which calls they may retry on another connection.
   */
  closeAll(): void {
    clearInterval(this.#pingTimer);
    for (const session of this.#sessions.keys()) session.close();
  }

  /** Closes all connections immediately. */
  destroyAll(): void {
    for (const session of this.#sessions.keys()) session.destroy();
  }

  /** Stops the timers. */
  stop(): void {
    clearInterval(this.#pingTimer);
    clearInterval(this.#chargeTimer);
  }

  #track(session: ServerHttp2Session, state: SessionState, stream: ServerHttp2Stream): void {
    const { connection, last } = state;
    const openedAtMs = performance.now();
    // A stream is reset now, and closed only when its handler has finished. This listens to no further event of each
    // stream, which would cost 2% of a call.
    if (last?.stream.aborted === true) this.#chargeReset(session, state, last);
    const opened = { stream, atMs: openedAtMs };
    state.last = opened;
    connection.startRequest();
    state.streams += 1;
    stream.on("close", () => {
      connection.endRequest();
      state.idleSinceMs = performance.now();
      if (state.last === opened) state.last = undefined;
      if (stream.rstCode !== 0 || !stream.headersSent) this.#chargeReset(session, state, opened);
      if (connection.isReserved) session.close();
    });
    // A peer that resets its connection raises an error on every open stream, which would end the process.
    stream.on("error", ignore);
  }

  /**
   * Charges a stream that the peer has reset, once. A reset costs its caller when it comes so early that the caller
   * waited neither for the response nor for a deadline: only the wait keeps the streams of a connection within the
   * limit of concurrent streams. A call that lived longer was as expensive for its caller as one that got its response.
   * The end of a whole connection, as load generators and browsers cause it, costs nothing.
   */
  #chargeReset(session: ServerHttp2Session, state: SessionState, { stream, atMs }: OpenedStream): void {
    if (state.isClosed || session.destroyed || this.#charged.has(stream)) return;
    if (performance.now() - atMs >= this.#options.limits.rapidResetMs) return;
    this.#charged.add(stream);
    state.resets += 1;
    this.#options.charge(state.connection, 1);
  }

  #chargeSomeRefused(): void {
    for (let count = 0; count < MAX_COUNTED_SESSIONS; count += 1) {
      const { value, done } = this.#uncounted.next();
      if (done === true) {
        this.#uncounted = this.#sessions.entries();
        return;
      }
      this.#chargeRefused(...value);
    }
  }

  /**
   * Charges header blocks that are refused because they are too large once decompressed. Node reports no event for
   * them; they show as ids of streams that have begun and were never reported. Reading the state of a session takes
   * 0.2 us.
   */
  #chargeRefused(session: Http2Session, state: SessionState): void {
    const { lastProcStreamID } = session.state;
    if (lastProcStreamID === undefined) return;
    // Clients open streams with consecutive odd ids.
    const refused = Math.floor((lastProcStreamID + 1) / 2) - state.streams;
    if (refused <= state.refused) return;
    const units = refused - state.refused;
    state.refused = refused;
    this.#options.charge(state.connection, units * REFUSED_HEADERS_UNITS);
  }

  #checkAll(): void {
    const nowMs = performance.now();
    for (const [session, state] of this.#sessions) {
      state.resets = 0;
      if (session.closed) continue;
      const isIdle =
        state.connection.isIdle && nowMs - state.idleSinceMs >= this.#options.limits.idleSessionMs;
      if (isIdle) session.close();
      else if (state.isPingPending) session.destroy();
      else this.#ping(session, state);
    }
  }

  #ping(session: Http2Session, state: SessionState): void {
    state.isPingPending = session.ping(() => {
      state.isPingPending = false;
    });
  }
}

function ignore(): void {}
