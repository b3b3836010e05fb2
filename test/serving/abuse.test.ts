import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  CatalogService,
  GetProductRequestSchema,
} from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import {
  callGrpcJs,
  connectHttp2,
  frame,
  grpcJs,
  grpcStatus,
  openGrpc,
  pathTo,
  post,
  start,
  transportNames,
  transports,
} from "./fixture.ts";
import { framesOf, frameType, getFrame, http2Frame, openFrames, resetFrame } from "./frames.ts";

const { getProduct } = CatalogService.method;
const path = "/cartwright.catalog.v1.CatalogService/GetProduct";
const key = { case: "sku", value: "A" } as const;
const mebibyte = 1024 * 1024;

const failures: unknown[] = [];
const onFailure = (error: unknown) => {
  failures.push(error);
};
// Any of these would end the process of a server.
beforeEach(() => {
  process.on("uncaughtExceptionMonitor", onFailure);
});
afterEach(() => {
  process.off("uncaughtExceptionMonitor", onFailure);
  expect(failures.splice(0)).toEqual([]);
});

async function expectUp(url: string): Promise<void> {
  const answer = await createClient(CatalogService, transports(url)["gRPC over HTTP/2"]).getProduct({ key });
  expect(answer.product?.sku).toBe("A");
}

function request(value: string): Uint8Array {
  return toBinary(GetProductRequestSchema, create(GetProductRequestSchema, { key: { case: "sku", value } }));
}

describe("a message over 4 MiB is RESOURCE_EXHAUSTED", () => {
  test.each(transportNames.filter((name) => name !== "Connect GET"))("by %s", async (name) => {
    const { url } = await start();
    const client = createClient(CatalogService, transports(url)[name]);
    const value = "x".repeat(5 * mebibyte);
    const error = await client.getProduct({ key: { case: "sku", value } }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    expect(error).toSatisfy(
      (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0]?.reason === "MESSAGE_TOO_LARGE",
    );
    await expectUp(url);
  });

  test("by @grpc/grpc-js", async () => {
    const { url, port } = await start();
    const value = "x".repeat(5 * mebibyte);
    await expect(callGrpcJs(grpcJs(port), getProduct, { key: { case: "sku", value } })).rejects.toMatchObject(
      { code: status.RESOURCE_EXHAUSTED },
    );
    await expectUp(url);
  });

  test("and up to 4 MiB it is read", async () => {
    const { url } = await start();
    const answer = await fetch(pathTo(url, getProduct), {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body: new Uint8Array(request("x".repeat(4 * mebibyte - 5))),
    });
    // Too long for a sku, but not for a message.
    expect(await answer.json()).toMatchObject({ code: "invalid_argument" });
  });

  test("though it is small while compressed, by gRPC", async () => {
    const { url } = await start();
    const bomb = gzipSync(Buffer.alloc(100 * mebibyte));
    expect(bomb.length).toBeLessThan(mebibyte / 4);
    const stream = openGrpc(connectHttp2(url), path, { "grpc-encoding": "gzip" });
    stream.end(frame(bomb, true));
    expect(await grpcStatus(stream)).toBe(String(Code.ResourceExhausted));
    await expectUp(url);
  });

  test("though it is small while compressed, by Connect", async () => {
    const { url } = await start();
    const bomb = gzipSync(Buffer.from(`{"sku":"${"x".repeat(50 * mebibyte)}"}`));
    const answer = await fetch(pathTo(url, getProduct), {
      method: "POST",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: new Uint8Array(bomb),
    });
    expect(answer.status).toBe(429);
    expect(await answer.json()).toMatchObject({ code: "resource_exhausted" });
    await expectUp(url);
  });

  test("before the rest of it is read", async () => {
    const { url } = await start();
    const stream = openGrpc(connectHttp2(url), path);
    const head = frame(Buffer.alloc(0));
    head.writeUInt32BE(0xffffffff, 1);
    stream.write(head);
    expect(await grpcStatus(stream)).toBe(String(Code.ResourceExhausted));
  });

  test("even as an answer", async () => {
    const { url } = await start({
      catalog: { getProduct: () => ({ product: { name: "x".repeat(5 * mebibyte) } }) },
    });
    const client = createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]);
    const error = await client.getProduct({ key }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
  });
});

test.each([
  ["no gzip", Buffer.from("nonsense")],
  ["half of it", gzipSync(request("A".repeat(1_000))).subarray(0, 20)],
])("a message that claims to be gzip and is %s is INVALID_ARGUMENT", async (_, bytes) => {
  const { url } = await start();
  const stream = openGrpc(connectHttp2(url), path, { "grpc-encoding": "gzip" });
  stream.end(frame(bytes, true));
  expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
});

describe("a request that stalls", () => {
  const limits = { bodyIdleMs: 300 };

  test("is answered and ended over HTTP/2", async () => {
    const { url } = await start({ limits });
    const stream = openGrpc(connectHttp2(url), path);
    stream.write(frame(request("A")).subarray(0, 4));
    const startMs = performance.now();
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    // The deadline is 5 s.
    expect(performance.now() - startMs).toBeLessThan(4_000);
    if (!stream.closed) await once(stream, "close");
  });

  test("that trickles meets its deadline", async () => {
    const { url } = await start({ limits });
    const stream = openGrpc(connectHttp2(url), path, { "grpc-timeout": "500m" });
    const bytes = frame(request("A".repeat(1_000)));
    let at = 0;
    const trickle = setInterval(() => stream.write(bytes.subarray(at, ++at)), 50);
    const startMs = performance.now();
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    clearInterval(trickle);
    expect(performance.now() - startMs).toBeGreaterThan(450);
    expect(performance.now() - startMs).toBeLessThan(4_000);
  });

  test("is answered over HTTP/1.1, and its connection is not used again", async () => {
    const { port } = await start({ limits: { ...limits, keepAliveMs: 300 } });
    const socket = connect(port, "127.0.0.1");
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    );
    const [answer]: Buffer[] = await once(socket, "data");
    expect(answer?.toString()).toMatch(/^HTTP\/1\.1 504/);
    socket.resume();
    await once(socket, "close");
  });

  test("in its headers is ended", async () => {
    const { port } = await start({ limits: { headersMs: 200 } });
    const socket = connect(port, "127.0.0.1");
    socket.write("POST / HTTP/1.1\r\nHost: a\r\n");
    const startMs = performance.now();
    socket.resume();
    await once(socket, "close");
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  test("to a service without policy is ended too", async () => {
    const { url } = await start({ limits });
    const stream = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch");
    stream.write(Buffer.from([0, 0]));
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
  });
});

test("an HTTP/1.1 connection goes on after a request that was answered early", async () => {
  const { port } = await start();
  const socket = connect(port, "127.0.0.1");
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`);
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
    const { url } = await start(options);
    const session = connectHttp2(url, { settings: { initialWindowSize: 0 } });
    const stream = openGrpc(session, path);
    stream.end(frame(request("A")));
    await once(stream, "close");
    // RFC 9113, 7.
    expect(stream.rstCode).not.toBe(0);
  });

  test("over HTTP/1.1", async () => {
    const { port } = await start(options);
    const socket = connect(port, "127.0.0.1");
    const body = '{"sku":"A"}';
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json`;
    // Never read, and many at once, for they have to fill the buffers of the system.
    const text = `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(text.repeat(10));
    const writing = setInterval(() => socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 50);
    // Who does not read learns of the end by writing.
    await new Promise((resolve) => socket.once("error", resolve));
    clearInterval(writing);
  });
});

describe("headers are bounded", () => {
  test("over HTTP/1.1", async () => {
    const { url } = await start();
    const answer = await post(url, getProduct, { sku: "A" }, { "x-much": "y".repeat(17_000) });
    expect(answer.status).toBe(431);
    await expectUp(url);
  });

  test.each([
    ["length", { "x-much": "y".repeat(80_000) }],
    ["number", Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`x-${index}`, "y"]))],
  ])("in %s over HTTP/2", async (_, headers: Record<string, string>) => {
    const calls: unknown[] = [];
    const { url } = await start({
      catalog: {
        getProduct: (request) => {
          calls.push(request);
          return {};
        },
      },
    });
    const stream = openGrpc(connectHttp2(url), path, headers);
    stream.end(frame(request("A")));
    expect(await grpcStatus(stream)).not.toBe("0");
    expect(calls).toEqual([]);
  });
});

describe("callers that vanish leave the server up", () => {
  test.each(["destroyed", "reset"])("their connections %s in the middle of calls", async (how) => {
    const signals: AbortSignal[] = [];
    const { url, port, lines } = await start({
      catalog: {
        listProducts: async (_, { signal }) => {
          signals.push(signal);
          await sleep(5_000, undefined, { signal });
          return {};
        },
      },
    });
    const sockets = await Promise.all(Array.from({ length: 5 }, () => openFrames(port)));
    for (const socket of sockets) {
      const calls = Array.from({ length: 50 }, (_, index) =>
        getFrame(
          2 * index + 1,
          "/cartwright.catalog.v1.CatalogService/ListProducts?encoding=json&message={}",
        ),
      );
      socket.write(Buffer.concat(calls));
    }
    await expect.poll(() => signals.length, { timeout: 5_000 }).toBe(250);
    for (const socket of sockets) {
      if (how === "reset") socket.resetAndDestroy();
      else socket.destroy();
    }
    await expect.poll(() => signals.every(({ aborted }) => aborted), { timeout: 5_000 }).toBe(true);
    await expectUp(url);
    expect(lines.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
  });

  test("their HTTP/1.1 requests broken off", async () => {
    const { url, port } = await start();
    for (let count = 0; count < 50; count += 1) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
      );
      await sleep(2);
      if (count % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    await expectUp(url);
  });

  test("while large answers are on their way", async () => {
    const name = "x".repeat(mebibyte);
    const { url } = await start({
      catalog: { listProducts: () => ({ products: [{ name }, { name }, { name }] }) },
    });
    for (let count = 0; count < 20; count += 1) {
      const session = connectHttp2(url);
      for (let call = 0; call < 5; call += 1) {
        const stream = session.request({
          ":path": "/cartwright.catalog.v1.CatalogService/ListProducts?encoding=json&message={}",
        });
        stream.on("error", () => {});
        stream.once("data", () => session.destroy());
      }
      await once(session, "close");
    }
    await expectUp(url);
  });
});

describe("a flood ends its connection and leaves the server up", () => {
  test("of streams that are reset at once, as fast as can be", async () => {
    const { url, port } = await start();
    const socket = await openFrames(port);
    socket.resume();
    let sent = 0;
    for (; sent < 5_000 && !socket.destroyed; sent += 1) {
      socket.write(Buffer.concat([getFrame(2 * sent + 1, "/healthz"), resetFrame(2 * sent + 1)]));
      if (sent % 100 === 0) await sleep(1);
    }
    expect(sent).toBeLessThan(5_000);
    await expectUp(url);
  });

  test("of streams that are reset at once, though never many at a time", async () => {
    const { url, port } = await start();
    const socket = await openFrames(port);
    const ping = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));
    let sent = 0;
    for await (const { type } of framesOf(socket)) {
      if (type === frameType.goaway || sent >= 5_000) break;
      if (sent > 0 && type !== frameType.ping) continue;
      // The last burst is done with.
      await nextTurn();
      for (let burst = 0; burst < 50; burst += 1, sent += 1) {
        socket.write(Buffer.concat([getFrame(2 * sent + 1, "/healthz"), resetFrame(2 * sent + 1)]));
      }
      socket.write(ping);
    }
    expect(sent).toBeGreaterThanOrEqual(1_000);
    expect(sent).toBeLessThan(5_000);
    await expectUp(url);
  });

  test("of pings and settings whose answers are not read", async () => {
    const { url, port } = await start();
    for (const flood of [
      http2Frame(frameType.ping, 0, 0, Buffer.alloc(8)),
      http2Frame(frameType.settings, 0, 0),
    ]) {
      const socket = await openFrames(port);
      socket.pause();
      const many = Buffer.concat(Array.from({ length: 10_000 }, () => flood));
      for (let count = 0; count < 100 && !socket.destroyed; count += 1) {
        if (!socket.write(many)) await sleep(10);
      }
      expect(socket.destroyed).toBe(true);
      await expectUp(url);
    }
  });

  test("of streams at once is bounded", async () => {
    let running = 0;
    let most = 0;
    const { url, port } = await start({
      catalog: {
        listProducts: async () => {
          running += 1;
          most = Math.max(most, running);
          await sleep(300);
          running -= 1;
          return {};
        },
      },
    });
    const socket = await openFrames(port);
    socket.resume();
    for (let stream = 1; stream < 800; stream += 2) {
      socket.write(
        getFrame(stream, "/cartwright.catalog.v1.CatalogService/ListProducts?encoding=json&message={}"),
      );
    }
    await expect.poll(() => most, { timeout: 5_000 }).toBeGreaterThan(100);
    await sleep(400);
    expect(most).toBeLessThanOrEqual(256);
    await expectUp(url);
  });
});

describe("an HTTP/2 connection", () => {
  test("without streams is ended by GOAWAY", async () => {
    const { url } = await start({ limits: { idleSessionMs: 200, pingMs: 50 } });
    const session = connectHttp2(url);
    const stream = session.request({ ":path": "/healthz" });
    stream.resume();
    await once(stream, "end");
    const startMs = performance.now();
    const [code] = await once(session, "goaway");
    expect(code).toBe(0);
    expect(performance.now() - startMs).toBeGreaterThan(150);
    if (!session.closed) await once(session, "close");
  });

  test("with a stream is kept", async () => {
    const { url } = await start({ limits: { idleSessionMs: 100, pingMs: 50 } });
    const session = connectHttp2(url);
    const stream = openGrpc(session, "/grpc.health.v1.Health/Watch");
    stream.end(frame(Buffer.alloc(0)));
    stream.resume();
    await once(stream, "response");
    await sleep(500);
    expect(session.closed).toBe(false);
    expect(stream.closed).toBe(false);
  });

  test("whose peer says nothing any more is ended", async () => {
    const { port } = await start({ limits: { pingMs: 100 } });
    const socket = await openFrames(port);
    socket.resume();
    const startMs = performance.now();
    await once(socket, "close");
    expect(performance.now() - startMs).toBeGreaterThan(90);
  });
});
