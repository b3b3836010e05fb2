import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A request that an attacker sends on a connection of its own. */
export interface Http1Request {
  port: number;
  path: string;
  /** The loopback address from which it is sent. */
  localAddress: string;
  token?: string | undefined;
  /** The bytes of the body that are sent. */
  body: string;
  /** The size of the body that is announced. Defaults to that of `body`. */
  contentLength?: number;
}

/** A request on its way. The connection is closed when the test is over. */
export interface SentRequest {
  socket: Socket;
  /** The status of the response, once there is one. */
  status: number | undefined;
}

/** Sends a request over HTTP/1.1 and does not wait for the response. */
export function sendHttp1(request: Http1Request): SentRequest {
  const { port, path, localAddress, token, body, contentLength = body.length } = request;
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  const sent: SentRequest = { socket, status: undefined };
  socket.on("error", () => {});
  socket.on("data", (data) => {
    sent.status ??= Number(/^HTTP\/1\.1 (\d+)/.exec(data.toString("latin1"))?.[1]);
  });
  onTestFinished(() => {
    socket.destroy();
  });
  const authorization = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${authorization}Content-Length: ${contentLength}\r\n\r\n${body}`,
  );
  return sent;
}
