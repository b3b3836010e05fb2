import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Peer } from "./peer.ts";

/** Handles a stream that a peer opened, with the address of the peer. */
export type OnStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
  peer: string | undefined,
) => void;

/** The handlers of requests by version of HTTP. */
export interface HttpHandlers {
  onHttp1Request(request: IncomingMessage, response: ServerResponse): void;
  onHttp2Stream: OnStream;
}

/** A connection that the server has accepted, with or without TLS. */
export class Connection {
  /** The socket of TLS once the handshake is complete. */
  socket: Socket;
  readonly peer: Peer;
  readonly handlers: HttpHandlers;
  /** Whether the connection ends with its first response. */
  readonly isReserved: boolean;
  /** Whether its address was in debt: the connection speaks HTTP/1.1 only. */
  readonly isIndebted: boolean;
  /** Whether the peer has sent the headers of a request. */
  hasRequest = false;
  /** Whether the server has closed the connection, to make a place or because of a debt. */
  isClosedByServer = false;
  /** The requests of HTTP/1.1 or streams of HTTP/2 that are in flight. */
  #openRequests = 0;
  /** Set once the connection speaks HTTP/2. */
  session: ServerHttp2Session | undefined;

  constructor(
    socket: Socket,
    peer: Peer,
    handlers: HttpHandlers,
    { isReserved = false, isIndebted = false } = {},
  ) {
    this.socket = socket;
    this.peer = peer;
    this.handlers = handlers;
    this.isReserved = isReserved;
    this.isIndebted = isIndebted;
  }

  /** Whether closing the connection interrupts no call: no request is in flight, or none was sent. */
  get isIdle(): boolean {
    return this.#openRequests === 0;
  }

  /** Records that a request of HTTP/1.1, or a stream of HTTP/2, has begun. */
  startRequest(): void {
    this.hasRequest = true;
    this.#openRequests += 1;
  }

  /** Records that it has ended. */
  endRequest(): void {
    this.#openRequests -= 1;
  }

  /** Closes the connection immediately. An HTTP/2 peer receives GOAWAY. */
  close(): void {
    const { session, socket } = this;
    this.isClosedByServer = true;
    if (session === undefined) {
      socket.destroy();
      return;
    }
    session.destroy();
    // The session would wait until the peer has closed its side too. In the next turn GOAWAY has been written, also
    // when this is called while frames are received.
    setImmediate(() => socket.destroy());
  }
}
