import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Readable } from "node:stream";
import { MAX_MESSAGE_BYTES } from "../server/server-limits.ts";
import { abortHttp1Response, abortStream } from "./exchange-abort.ts";

/** A complete response. Names of headers are in lower case. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: there is no body, which differs from an empty one. */
  readonly body?: Uint8Array | undefined;
  /** For gRPC, which is served over HTTP/2 only. */
  readonly trailers?: Readonly<Record<string, string>> | undefined;
}

/** An HTTP request and its response, the same for HTTP/1.1 and HTTP/2. */
export interface HttpExchange {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly authority: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they were sent. */
  readonly rawHeaders: readonly string[];
  readonly peer: string | undefined;
  readonly body: Readable;
  /** Whether the whole request has arrived. */
  readonly complete: boolean;
  /** Sends a response, unless the caller has disconnected. */
  respond(response: HttpResponse): void;
  /** Ends the exchange so that callers detect a partial response. */
  abort(): void;
  /** Calls the listener once, when the exchange is over. */
  onClose(listener: () => void): void;
}

/** A reset overtakes queued frames: a response needs this long to leave the socket. */
const RESET_DELAY_MS = 1_000;
/** The largest request, in bytes, whose rest is received before an early response: one message above the limit. */
const MAX_DRAINED_BYTES = MAX_MESSAGE_BYTES + 1024 * 1024;

/**
 * Receives and discards the rest of an HTTP/2 request that states its length, before an early response with status 200.
 * Some clients, such as connect-go, stop sending at the headers of such a response. They then miss the length that they
 * have stated, nghttp2 resets their stream with PROTOCOL_ERROR, and the reset overtakes the response.
 * @param drainMs the longest wait, in milliseconds
 * @returns settles when the request is complete, too slow or aborted; undefined when there is nothing to wait for
 */
export function receiveRest(body: Readable, contentLength = "0", drainMs: number): Promise<void> | undefined {
  const length = Number(contentLength);
  if (body.readableEnded || body.destroyed || !(length > 0 && length <= MAX_DRAINED_BYTES)) return undefined;
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(settle, drainMs);
    body.once("end", settle).once("close", settle).resume();
  });
}

/** Closes a stream whose response was sent before its request was complete, once the caller can have read it. */
export function closeUnreadStream(stream: ServerHttp2Stream): void {
  if (stream.readableEnded || stream.destroyed || stream.endAfterHeaders) return;
  setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), RESET_DELAY_MS).unref();
}

/** Discards the rest of a request whose response was sent early, so that its connection can carry the next. */
export function drainRequest(request: IncomingMessage): void {
  if (!request.complete) request.resume();
}

/** A stream of HTTP/2, without Node's HTTP/1.1 compatibility layer, which costs as much as the call. */
export class Http2Exchange implements HttpExchange {
  readonly httpVersion = "2.0";
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly peer: string | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #drainMs: number;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
    peer: string | undefined,
    drainMs: number,
  ) {
    this.#stream = stream;
    this.#drainMs = drainMs;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.peer = peer;
  }

  get method(): string {
    return singleValue(this.headers[":method"]);
  }

  get target(): string {
    return singleValue(this.headers[":path"]);
  }

  get authority(): string | undefined {
    return singleValue(this.headers[":authority"]) || this.headers.host;
  }

  get body(): Readable {
    return this.#stream;
  }

  get complete(): boolean {
    return this.#stream.readableEnded || this.#stream.destroyed;
  }

  respond(response: HttpResponse): void {
    const rest =
      response.status === 200
        ? receiveRest(this.#stream, this.headers["content-length"], this.#drainMs)
        : undefined;
    if (rest === undefined) this.#send(response);
    else rest.then(() => this.#send(response)).catch(() => this.abort());
  }

  #send({ status, headers, body, trailers }: HttpResponse): void {
    const stream = this.#stream;
    // A stream that was reset in the same read as it was opened is closed, and not destroyed yet.
    if (stream.closed || stream.destroyed || stream.headersSent) return;
    stream.once("finish", () => closeUnreadStream(stream));
    if (trailers === undefined && body === undefined) {
      stream.respond({ ":status": status, ...headers }, { endStream: true });
      return;
    }
    stream.respond({ ":status": status, ...headers }, { waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end(body);
  }

  abort(): void {
    abortStream(this.#stream);
  }

  onClose(listener: () => void): void {
    this.#stream.once("close", listener);
  }
}

/** A request of HTTP/1.1. */
export class Http1Exchange implements HttpExchange {
  readonly httpVersion = "1.1";
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method ?? "";
  }

  get target(): string {
    return this.#request.url ?? "";
  }

  get authority(): string | undefined {
    return this.#request.headers.host;
  }

  get headers(): IncomingHttpHeaders {
    return this.#request.headers;
  }

  get rawHeaders(): readonly string[] {
    return this.#request.rawHeaders;
  }

  get peer(): string | undefined {
    return this.#request.socket.remoteAddress;
  }

  get body(): Readable {
    return this.#request;
  }

  get complete(): boolean {
    return this.#request.complete;
  }

  respond({ status, headers, body }: HttpResponse): void {
    const request = this.#request;
    const response = this.#response;
    if (response.destroyed || response.headersSent) return;
    response.once("finish", () => drainRequest(request));
    response.writeHead(status, { ...headers });
    response.end(body);
  }

  abort(): void {
    abortHttp1Response(this.#response);
  }

  onClose(listener: () => void): void {
    this.#response.once("close", listener);
  }
}

function singleValue(value: string | string[] | undefined): string {
  return typeof value === "string" ? value : "";
}
