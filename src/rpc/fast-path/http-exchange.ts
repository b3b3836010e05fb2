import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Readable } from "node:stream";

/** An answer that is complete. Names of headers are in lower case. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: there is none, which is not the same as one of no bytes. */
  readonly body?: Uint8Array | undefined;
  /** For gRPC, which only HTTP/2 carries here. */
  readonly trailers?: Readonly<Record<string, string>> | undefined;
}

/** A request and the way to answer it, the same for both versions of HTTP. */
export interface HttpExchange {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly authority: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
  readonly peer: string | undefined;
  readonly body: Readable;
  /** Whether all of the request has come. */
  readonly complete: boolean;
  /** Sends an answer, unless the caller has gone. */
  reply(reply: HttpResponse): void;
  /** Ends the exchange such that a part of an answer does not pass for the whole. */
  cut(): void;
  /** Calls back once, when the exchange is over. */
  onClose(listener: () => void): void;
}

/** A reset overtakes what is queued before it: an answer needs this long to be on its way. */
const lingerMs = 1_000;

/** Ends a stream that is answered before all of it has come, once the caller can have read the answer. */
export function releaseStream(stream: ServerHttp2Stream): void {
  if (stream.readableEnded || stream.destroyed || stream.endAfterHeaders) return;
  setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs).unref();
}

/** Takes the rest of a request that is answered already off its connection, so that the next can come. */
export function releaseRequest(request: IncomingMessage): void {
  if (!request.complete) request.resume();
}

/** A stream of HTTP/2, without the layer that makes it look like HTTP/1.1: that costs as much as the call. */
export class Http2Exchange implements HttpExchange {
  readonly httpVersion = "2.0";
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly peer: string | undefined;
  readonly #stream: ServerHttp2Stream;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
    peer: string | undefined,
  ) {
    this.#stream = stream;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.peer = peer;
  }

  get method(): string {
    return textOf(this.headers[":method"]);
  }

  get target(): string {
    return textOf(this.headers[":path"]);
  }

  get authority(): string | undefined {
    return textOf(this.headers[":authority"]) || this.headers.host;
  }

  get body(): Readable {
    return this.#stream;
  }

  get complete(): boolean {
    return this.#stream.readableEnded || this.#stream.destroyed;
  }

  reply({ status, headers, body, trailers }: HttpResponse): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.headersSent) return;
    stream.once("finish", () => releaseStream(stream));
    if (trailers === undefined && body === undefined) {
      stream.respond({ ":status": status, ...headers }, { endStream: true });
      return;
    }
    stream.respond({ ":status": status, ...headers }, { waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end(body);
  }

  cut(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
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

  reply({ status, headers, body }: HttpResponse): void {
    const [request, response] = [this.#request, this.#response];
    if (response.destroyed || response.headersSent) return;
    response.once("finish", () => releaseRequest(request));
    response.writeHead(status, { ...headers });
    response.end(body);
  }

  cut(): void {
    this.#response.destroy();
  }

  onClose(listener: () => void): void {
    this.#response.once("close", listener);
  }
}

function textOf(value: string | string[] | undefined): string {
  return typeof value === "string" ? value : "";
}
