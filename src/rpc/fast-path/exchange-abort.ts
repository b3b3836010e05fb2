import type { ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";

/** The streams of HTTP/2, and the sockets of HTTP/1.1, that the server itself aborted. */
const aborted = new WeakSet<object>();

/** Resets a stream, so that its caller detects a partial response. */
export function abortStream(stream: ServerHttp2Stream): void {
  if (!stream.closed) aborted.add(stream);
  stream.close(constants.NGHTTP2_CANCEL);
}

/** Closes the connection of an HTTP/1.1 response, so that its caller detects a partial response. */
export function abortHttp1Response(response: ServerResponse): void {
  const { socket } = response.req;
  if (!socket.destroyed) aborted.add(socket);
  response.destroy();
}

/** Returns whether the server aborted a stream, or the connection of a response, before its caller did. */
export function isAbortedByServer(streamOrSocket: object): boolean {
  return aborted.has(streamOrSocket);
}
