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
import {
  DROPPED_UNITS,
  isEndedByCaller,
  isGivenUpEarly,
  type Moment,
  type OpenedRequest,
} from "./debts/abandoned-requests.ts";
import { RefusedHeaders } from "./debts/refused-headers.ts";
import type { ResponsiveClock } from "./debts/responsive-clock.ts";
import { http2Options } from "./http-servers.ts";

/** Dependencies of the sessions. */
export interface Http2SessionsOptions {
  limits: ServerLimits;
  clock: ResponsiveClock;
  /** Charges the peer of a connection for work that it caused and does not wait for, in units of one reset stream. */
  charge(connection: Connection, units: number): void;
  log: Log;
}

/** A stream that its peer opened. */
interface OpenedStream extends OpenedRequest {
  readonly stream: ServerHttp2Stream;
}

/** The state of one HTTP/2 connection. */
interface SessionState {
  readonly connection: Connection;
  /** The stream that was opened last, while it is open. */
  last: OpenedStream | undefined;
  /** The streams that the peer has reset soon after it opened them, since the last ping. */
  resets: number;
  readonly refusedHeaders: RefusedHeaders;
  /** When its last stream ended, in milliseconds of `performance.now()`. */
  idleSinceMs: number;
  isPingPending: boolean;
  /** When the connection was closed, which ends its streams. */
  closedAt: Moment | undefined;
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
      last: undefined,
      resets: 0,
      refusedHeaders: new RefusedHeaders(),
      idleSinceMs: performance.now(),
      isPingPending: false,
      closedAt: undefined,
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
      state.closedAt = this.#options.clock.now();
    });
    session.on("stream", (stream, headers, flags, rawHeaders) => {
      this.#track(session, state, stream, rawHeaders);
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
    for (const [session, state] of this.#sessions) endByServer(session, state);
  }

  /** Stops the timers. */
  stop(): void {
    clearInterval(this.#pingTimer);
    clearInterval(this.#chargeTimer);
  }

  #track(
    session: ServerHttp2Session,
    state: SessionState,
    stream: ServerHttp2Stream,
    rawHeaders: readonly string[],
  ): void {
    const { connection, last } = state;
    const { atMs, responsiveMs } = this.#options.clock.now();
    // A stream is reset now, and closed only when its handler has finished. This listens to no further event of each
    // stream, which would cost 2% of a call.
    if (last?.stream.aborted === true) this.#chargeAbandoned(session, state, last);
    const opened = { stream, rawHeaders, atMs, responsiveMs };
    state.last = opened;
    connection.startRequest();
    const refusedUnits = state.refusedHeaders.accept(stream.id ?? 0, connection.socket);
    if (refusedUnits > 0) this.#options.charge(connection, refusedUnits);
    stream.on("close", () => {
      connection.endRequest();
      state.idleSinceMs = performance.now();
      if (state.last === opened) state.last = undefined;
      this.#chargeAbandoned(session, state, opened);
      if (connection.isReserved) session.close();
    });
    // A peer that resets its connection raises an error on every open stream, which would end the process.
    stream.on("error", ignore);
  }

  /**
   * Charges a stream that the peer has reset, or that was in flight when the peer closed the connection, once. It costs
   * its caller when it comes so early that the caller waited neither for the response nor for a deadline: only the wait
   * keeps the streams of a connection within the limit of concurrent streams. A call that lived longer was as expensive
   * for its caller as one that got its response.
   */
  #chargeAbandoned(session: Http2Session, state: SessionState, opened: OpenedStream): void {
    const { connection, closedAt } = state;
    const { stream } = opened;
    if (connection.isClosedByServer || !isEndedByCaller(stream) || this.#charged.has(stream)) return;
    const endedAt = closedAt ?? this.#options.clock.now();
    if (!isGivenUpEarly(opened, endedAt, this.#options.limits.rapidResetMs)) return;
    this.#charged.add(stream);
    if (session.destroyed || closedAt !== undefined) {
      this.#options.charge(connection, DROPPED_UNITS);
      return;
    }
    state.resets += 1;
    this.#options.charge(connection, 1);
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

  /** Charges header blocks that are refused because they are too large once decompressed. It takes 0.5 us. */
  #chargeRefused(session: Http2Session, { connection, refusedHeaders }: SessionState): void {
    const { lastProcStreamID } = session.state;
    if (lastProcStreamID === undefined) return;
    const units = refusedHeaders.countUpTo(lastProcStreamID, connection.socket.bytesRead);
    if (units > 0) this.#options.charge(connection, units);
  }

  #checkAll(): void {
    const nowMs = performance.now();
    for (const [session, state] of this.#sessions) {
      state.resets = 0;
      if (session.closed) continue;
      const isIdle =
        state.connection.isIdle && nowMs - state.idleSinceMs >= this.#options.limits.idleSessionMs;
      if (isIdle) session.close();
      else if (state.isPingPending) endByServer(session, state);
      else this.#ping(session, state);
    }
  }

  #ping(session: Http2Session, state: SessionState): void {
    state.isPingPending = session.ping(() => {
      state.isPingPending = false;
    });
  }
}

/** Ends a session whose streams in flight cost its peer nothing. */
function endByServer(session: Http2Session, { connection }: SessionState): void {
  connection.isClosedByServer = true;
  session.destroy();
}

function ignore(): void {}
