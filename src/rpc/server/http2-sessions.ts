import type { IncomingHttpHeaders } from "node:http";
import type { Http2Server, Http2Session, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { ServerLimits } from "./server-limits.ts";

/** Handles a stream that a peer opened, with the address of the peer. */
export type OnStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
  peer: string | undefined,
) => void;

/** The state of one HTTP/2 connection. */
interface SessionState {
  peer: string | undefined;
  openStreams: number;
  /** When its last stream ended, in milliseconds of `performance.now()`. */
  idleSinceMs: number;
  isPingPending: boolean;
}

/** The HTTP/2 connections of a server. Ends idle ones and those whose peer does not acknowledge pings. */
export class Http2Sessions {
  readonly #sessions = new Map<Http2Session, SessionState>();
  readonly #limits: ServerLimits;
  readonly #timer: NodeJS.Timeout;
  readonly #onStream: OnStream;

  constructor(server: Http2Server, limits: ServerLimits, onStream: OnStream) {
    this.#limits = limits;
    this.#onStream = onStream;
    server.on("session", (session) => this.#add(session));
    this.#timer = setInterval(() => this.#checkAll(), limits.pingMs);
    this.#timer.unref();
  }

  /** Returns the address of the peer; undefined when the session is closed. */
  peerOf(session: Http2Session | undefined): string | undefined {
    return session === undefined ? undefined : this.#sessions.get(session)?.peer;
  }

  /**
   * Sends GOAWAY to all peers; open streams may finish. GOAWAY names the last stream that is served, which shows
   * callers which calls they may retry on another connection.
   */
  closeAll(): void {
    clearInterval(this.#timer);
    for (const session of this.#sessions.keys()) session.close();
  }

  #add(session: ServerHttp2Session): void {
    const state: SessionState = {
      // Read once: the session's socket is behind a proxy object, which is slow.
      peer: session.socket.remoteAddress,
      openStreams: 0,
      idleSinceMs: performance.now(),
      isPingPending: false,
    };
    this.#sessions.set(session, state);
    session.on("close", () => this.#sessions.delete(session));
    session.on("error", ignore);
    const onStreamClose = () => {
      state.openStreams -= 1;
      state.idleSinceMs = performance.now();
    };
    session.on("stream", (stream, headers, flags, rawHeaders) => {
      state.openStreams += 1;
      stream.on("close", onStreamClose);
      // A peer that resets its connection raises an error on every open stream, which would end the process.
      stream.on("error", ignore);
      this.#onStream(stream, headers, flags, rawHeaders, state.peer);
    });
  }

  #checkAll(): void {
    const nowMs = performance.now();
    for (const [session, state] of this.#sessions) {
      if (session.closed) continue;
      if (state.openStreams === 0 && nowMs - state.idleSinceMs >= this.#limits.idleSessionMs) session.close();
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
