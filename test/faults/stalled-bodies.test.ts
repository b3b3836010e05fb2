import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { waitForClose } from "../support/rpc/raw-connection.ts";
import { connectHttp2, envelope, grpcEnd, grpcStatus, openGrpc } from "../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../support/rpc/rpc-server.ts";

const MEBIBYTE = 1024 * 1024;
/** The start of a request whose body has 100 bytes. */
const POST_HEADERS = `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n`;

expectNoCrash();

describe("a request whose body stalls", () => {
  // The caller's deadline is much later.
  const limits = { bodyIdleMs: 300 };
  const headers = { "grpc-timeout": "100S" };

  test("a request whose body stalls gets DEADLINE_EXCEEDED over HTTP/2, and its stream is closed", async () => {
    const { url } = await startRpcServer({ limits });
    const stream = openGrpc(connectHttp2(url), getProductPath, headers);
    stream.write(envelope(getProductBytes("A")).subarray(0, 4));
    expect(await grpcEnd(stream)).toEqual({
      status: String(Code.DeadlineExceeded),
      message: "The request body did not arrive in time. Send it again.",
    });
    if (!stream.closed) await once(stream, "close");
  });

  test("a request whose body stalls gets 504 over HTTP/1.1, and its connection is not used again", async () => {
    const { port } = await startRpcServer({ limits: { ...limits, keepAliveMs: 300 } });
    const socket = connect(port, "127.0.0.1");
    socket.write(`${POST_HEADERS}{`);
    const [response]: Buffer[] = await once(socket, "data");
    expect(response?.toString()).toMatch(/^HTTP\/1\.1 504/);
    await waitForClose(socket);
  });

  test("a request whose body stalls gets DEADLINE_EXCEEDED from a service without a policy too", async () => {
    const { url } = await startRpcServer({ limits });
    const stream = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch", headers);
    stream.write(Buffer.from([0, 0]));
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
  });

  test("a request whose body trickles gets DEADLINE_EXCEEDED at its deadline", async () => {
    const { url } = await startRpcServer({ limits: { bodyIdleMs: 60_000 } });
    const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-timeout": "500m" });
    const bytes = envelope(getProductBytes("A".repeat(1_000)));
    let position = 0;
    const trickle = setInterval(() => stream.write(bytes.subarray(position, ++position)), 50);
    expect(await grpcEnd(stream)).toMatchObject({
      status: String(Code.DeadlineExceeded),
      message: expect.stringContaining("deadline of 500 ms"),
    });
    clearInterval(trickle);
  });
});

test("an HTTP/1.1 connection whose headers stall is closed", async () => {
  const { port } = await startRpcServer({ limits: { headersMs: 200 } });
  const socket = connect(port, "127.0.0.1");
  socket.write("POST / HTTP/1.1\r\nHost: a\r\n");
  await waitForClose(socket);
});

test("an HTTP/1.1 connection carries its next request after one whose response came early", async () => {
  const { port } = await startRpcServer();
  const socket = connect(port, "127.0.0.1");
  socket.write(`POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`);
  socket.write("Transfer-Encoding: chunked\r\n\r\n");
  const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
  for (let count = 0; count < 96; count += 1) socket.write(chunk);
  socket.write("0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  let text = "";
  for await (const part of socket) text += part;
  expect(text).toMatch(/^HTTP\/1\.1 429/);
  expect(text).toContain("HTTP/1.1 200");
});

describe("a response that the caller does not receive is aborted", () => {
  // Random, so that it cannot be compressed.
  const name = randomBytes(MEBIBYTE).toString("hex");
  const options = { limits: { deliveryMs: 300 }, catalog: { getProduct: () => ({ product: { name } }) } };

  test("a response that the caller does not receive is aborted over HTTP/2", async () => {
    const { url } = await startRpcServer(options);
    const session = connectHttp2(url, { settings: { initialWindowSize: 0 } });
    const stream = openGrpc(session, getProductPath);
    stream.end(envelope(getProductBytes("A")));
    await once(stream, "close");
    // Not NO_ERROR (RFC 9113, 7).
    expect(stream.rstCode).not.toBe(0);
  });

  test("a response that the caller does not receive is aborted over HTTP/1.1", async () => {
    const { port } = await startRpcServer(options);
    const socket = connect(port, "127.0.0.1");
    const body = '{"sku":"A"}';
    const head = `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json`;
    // Several of them, since they must fill the buffers of the operating system.
    const request = `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(request.repeat(10));
    await waitForWriteError(socket);
  });
});

/** Writes until the peer has closed the connection: a caller who does not read learns of it only so. */
async function waitForWriteError(socket: Socket): Promise<void> {
  const writing = setInterval(() => socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 50);
  await new Promise((resolve) => socket.once("error", resolve));
  clearInterval(writing);
}
