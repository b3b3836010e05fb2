import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../support/rpc/rpc-server.ts";

const mebibyte = 1024 * 1024;

expectNoCrash();

describe("a request that stalls", () => {
  const limits = { bodyIdleMs: 300 };

  test("is answered and ended over HTTP/2", async () => {
    const { url } = await startRpcServer({ limits });
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.write(envelope(getProductBytes("A")).subarray(0, 4));
    const startMs = performance.now();
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    // The deadline is 5 s.
    expect(performance.now() - startMs).toBeLessThan(4_000);
    if (!stream.closed) await once(stream, "close");
  });

  test("that trickles meets its deadline", async () => {
    const { url } = await startRpcServer({ limits });
    const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-timeout": "500m" });
    const bytes = envelope(getProductBytes("A".repeat(1_000)));
    let at = 0;
    const trickle = setInterval(() => stream.write(bytes.subarray(at, ++at)), 50);
    const startMs = performance.now();
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    clearInterval(trickle);
    expect(performance.now() - startMs).toBeGreaterThan(450);
    expect(performance.now() - startMs).toBeLessThan(4_000);
  });

  test("is answered over HTTP/1.1, and its connection is not used again", async () => {
    const { port } = await startRpcServer({ limits: { ...limits, keepAliveMs: 300 } });
    const socket = connect(port, "127.0.0.1");
    socket.write(
      `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    );
    const [answer]: Buffer[] = await once(socket, "data");
    expect(answer?.toString()).toMatch(/^HTTP\/1\.1 504/);
    socket.resume();
    await once(socket, "close");
  });

  test("in its headers is ended", async () => {
    const { port } = await startRpcServer({ limits: { headersMs: 200 } });
    const socket = connect(port, "127.0.0.1");
    socket.write("POST / HTTP/1.1\r\nHost: a\r\n");
    const startMs = performance.now();
    socket.resume();
    await once(socket, "close");
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  test("to a service without policy is ended too", async () => {
    const { url } = await startRpcServer({ limits });
    const stream = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch");
    stream.write(Buffer.from([0, 0]));
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
  });
});

test("an HTTP/1.1 connection goes on after a request that was answered early", async () => {
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

describe("an answer that nobody takes is given up", () => {
  // Noise, or it would be compressed.
  const name = randomBytes(mebibyte).toString("hex");
  const options = { limits: { deliveryMs: 300 }, catalog: { getProduct: () => ({ product: { name } }) } };

  test("over HTTP/2", async () => {
    const { url } = await startRpcServer(options);
    const session = connectHttp2(url, { settings: { initialWindowSize: 0 } });
    const stream = openGrpc(session, getProductPath);
    stream.end(envelope(getProductBytes("A")));
    await once(stream, "close");
    // RFC 9113, 7.
    expect(stream.rstCode).not.toBe(0);
  });

  test("over HTTP/1.1", async () => {
    const { port } = await startRpcServer(options);
    const socket = connect(port, "127.0.0.1");
    const body = '{"sku":"A"}';
    const head = `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json`;
    // Never read, and many at once, for they have to fill the buffers of the system.
    const text = `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(text.repeat(10));
    const writing = setInterval(() => socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 50);
    // Who does not read learns of the end by writing.
    await new Promise((resolve) => socket.once("error", resolve));
    clearInterval(writing);
  });
});
