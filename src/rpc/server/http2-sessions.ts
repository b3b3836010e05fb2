import type { IncomingHttpHeaders } from "node:http";
import type { Http2Server, Http2Session, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { ServerLimits } from "./server-limits.ts";

/** Told of each stream that a peer opens, with what Node says of it and the address of the peer. */
export type OnStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
  peer: string | undefined,
) => void;

/** What is known of one HTTP/2 connection. */
interface Session {
  peer: string | undefined;
  openStreams: number;
  /** When its last stream ended, in milliseconds of `performance.now()`. */
  idleSinceMs: number;
  /** A ping is out that has not come back. */
  waiting: boolean;
}

/** The HTTP/2 connections of a server: ends idle ones, and those whose peer has gone without a word. */
export class Http2Sessions {
  readonly #sessions = new Map<Http2Session, Session>();
  readonly #limits: ServerLimits;
  readonly #timer: NodeJS.Timeout;

  readonly #onStream: OnStream;

  constructor(server: Http2Server, limits: ServerLimits, onStream: OnStream) {
    this.#limits = limits;
    this.#onStream = onStream;
    server.on("session", (session) => this.#add(session));
    this.#timer = setInterval(() => this.#lookAround(), limits.pingMs);
    this.#timer.unref();
  }

  /** The address at the other end. */
  peerOf(session: Http2Session | undefined): string | undefined {
    return session === undefined ? undefined : this.#sessions.get(session)?.peer;
  }

  /**
   * Announces the end by GOAWAY; streams that are open may finish. It says which was the last that was
   * begun, so that callers know what they may ask again elsewhere.
   */
  closeAll(): void {
    clearInterval(this.#timer);
    for (const session of this.#sessions.keys()) session.close();
  }

  #add(session: ServerHttp2Session): void {
    const state: Session = {
      // Asking the session's socket goes through a proxy; once is enough.
      peer: session.socket.remoteAddress,
      openStreams: 0,
      idleSinceMs: performance.now(),
      waiting: false,
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
      // A caller that resets its connection raises an error on every open stream.
      stream.on("error", ignore);
      this.#onStream(stream, headers, flags, rawHeaders, state.peer);
    });
  }

  #lookAround(): void {
    const nowMs = performance.now();
    for (const [session, state] of this.#sessions) {
      if (session.closed) continue;
      if (state.openStreams === 0 && nowMs - state.idleSinceMs >= this.#limits.idleSessionMs) session.close();
      else if (state.waiting) session.destroy();
      else this.#ping(session, state);
    }
  }

  #ping(session: Http2Session, state: Session): void {
    state.waiting = session.ping(() => {
      state.waiting = false;
    });
  }
}

function ignore(): void {}
