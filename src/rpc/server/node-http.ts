import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { HttpResponse } from "../fast-path/http-exchange.ts";

/** Node's request and response, of either version of HTTP. */
export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** Returns whether a response is sent over HTTP/1.1. */
export function isHttp1(response: Response): response is ServerResponse {
  return !("stream" in response);
}

/**
 * Keeps the connection of a request open while nothing is sent for a long time, as long as the peer's host acknowledges.
 * HTTP/2 has pings for this.
 * @param probeMs the time without traffic after which the host is probed, in milliseconds
 */
export function keepConnectionOpen(request: Request, probeMs: number): void {
  if ("stream" in request) return;
  // Node sets the timeout again for the next request.
  request.socket.setTimeout(0);
  request.socket.setKeepAlive(true, probeMs);
}

/** Sends a text and ends the response. */
export function sendText(response: Response, status: number, type: string, body: string): void {
  response.statusCode = status;
  response.setHeader("content-type", type.startsWith("text/") ? `${type}; charset=utf-8` : type);
  if (body === "") {
    // An empty write would separate the headers from the end, and gRPC needs both in one frame.
    response.end();
    return;
  }
  response.setHeader("content-length", Buffer.byteLength(body));
  response.end(body);
}

/** Sends a complete response. */
export function sendResponse(response: Response, { status, headers, body }: HttpResponse): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (body === undefined) response.end();
  else response.end(body);
}
