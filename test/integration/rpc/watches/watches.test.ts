import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { Agent, IncomingMessage, request } from "node:http";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { frameType, grpcHeadersFrame, http2Frame } from "../../../support/rpc/http2-frames.ts";
import { openRawHttp2 } from "../../../support/rpc/raw-connection.ts";
import { connectHttp2, envelope, openGrpc } from "../../../support/rpc/raw-http2.ts";
import {
  getProductBytes,
  getProductPath,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash } from "../../../support/rpc/rpc-server.ts";
import { openWatch, startWatchServer, untilAborted, type Watch } from "../../../support/rpc/watch-server.ts";

// A stream has no message in its URL.
const names = transportNames.filter((name) => name !== "Connect GET");
const listProductsPath = `/${CatalogService.typeName}/ListProducts`;
const grpcRequest = envelope(getProductBytes("A"));

expectNoCrash();

describe.each(names)("a watch by %s", (name) => {
  test("a watch has no deadline, delivers each message when it is produced, and ends for its handler when the caller leaves", async () => {
    const next = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const watch: Watch = async function* ({ signal }) {
      for (const { promise } of next) {
        yield {};
        await promise;
      }
      await untilAborted(signal);
    };
    const { url, calls, endedCount } = await startWatchServer({ watch });
    const { messages, cancel, end } = openWatch(transports(url)[name]);
    await expect.poll(() => messages.length).toBe(1);
    expect(calls.map(({ deadlineAtMs }) => deadlineAtMs)).toEqual([Number.POSITIVE_INFINITY]);
    next[0]?.resolve();
    await expect.poll(() => messages.length).toBe(2);
    cancel();
    expect((await end)?.code).toBe(Code.Canceled);
    next[1]?.resolve();
    await expect.poll(endedCount).toBe(1);
  });

  test("a watch ends with OK when its handler does", async () => {
    const { url } = await startWatchServer({
      watch: async function* () {
        yield {};
        yield {};
      },
    });
    const { messages, end } = openWatch(transports(url)[name]);
    expect(await end).toBe(undefined);
    expect(messages.length).toBe(2);
  });

  test("a watch ends at the deadline that its caller sets", async () => {
    const { url, calls, endedCount } = await startWatchServer();
    const { end } = openWatch(transports(url)[name], { timeoutMs: 50 });
    expect((await end)?.code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => calls.length - endedCount()).toBe(0);
  });
});

test("a watch fails with DEADLINE_EXCEEDED for a caller that keeps no deadline of its own", async () => {
  const { url } = await startWatchServer();
  const { end } = openWatch(transports(url)["gRPC over HTTP/2"], { headers: { "grpc-timeout": "50m" } });
  expect((await end)?.code).toBe(Code.DeadlineExceeded);
});

test("the deadline of a watch may be longer than those of other methods", async () => {
  const { url, calls } = await startWatchServer();
  const before = performance.now();
  openWatch(transports(url)["gRPC over HTTP/2"], { headers: { "grpc-timeout": "24H" } });
  await expect.poll(() => calls.length).toBe(1);
  expect((calls[0]?.deadlineAtMs ?? 0) - before).toBeGreaterThanOrEqual(24 * 3_600_000);
});

describe("an idle watch", () => {
  test("an idle watch keeps its HTTP/2 connection open beyond the idle timeout, as long as pings are acknowledged", async () => {
    const next = Promise.withResolvers<void>();
    const watch: Watch = async function* () {
      yield {};
      await next.promise;
      yield {};
    };
    const { url } = await startWatchServer({ watch, limits: { pingMs: 250, idleSessionMs: 1 } });
    const session = connectHttp2(url);
    let pings = 0;
    session.on("ping", () => {
      pings += 1;
    });
    const stream = openGrpc(session, getProductPath);
    let chunks = 0;
    stream.on("data", () => {
      chunks += 1;
    });
    stream.end(grpcRequest);
    // Each ping follows a check whether the connection is idle.
    await expect.poll(() => pings).toBeGreaterThan(2);
    next.resolve();
    await expect.poll(() => chunks).toBe(2);
  });

  test("an idle watch ends when its HTTP/2 peer no longer acknowledges pings", async () => {
    const { port, calls, endedCount } = await startWatchServer({ limits: { pingMs: 20 } });
    // Acknowledges nothing.
    const socket = await openRawHttp2(port);
    socket.write(grpcHeadersFrame(1, getProductPath));
    socket.write(http2Frame(frameType.data, 1, 1, grpcRequest));
    await expect.poll(() => calls.length).toBe(1);
    await expect.poll(endedCount).toBe(1);
  });

  test("an idle watch keeps its HTTP/1.1 connection open, and the timeout applies again to the next request", async () => {
    const sockets: IncomingMessage["socket"][] = [];
    const record = (event: unknown) => {
      if (typeof event === "object" && event !== null && "request" in event) {
        const { request: received } = event;
        if (received instanceof IncomingMessage) sockets.push(received.socket);
      }
    };
    subscribe("http.server.request.start", record);
    onTestFinished(() => {
      unsubscribe("http.server.request.start", record);
    });
    const release = Promise.withResolvers<void>();
    const watch: Watch = async function* () {
      yield {};
      await release.promise;
    };
    const { url, calls } = await startWatchServer({ watch });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const send = async (path: string, type: string, body: Uint8Array | string): Promise<void> => {
      const sent = request(`${url}${path}`, { agent, method: "POST", headers: { "content-type": type } });
      sent.end(body);
      const [response]: IncomingMessage[] = await once(sent, "response");
      await response?.resume().toArray();
    };
    const watched = send(getProductPath, "application/connect+proto", grpcRequest);
    await expect.poll(() => calls.length).toBe(1);
    expect(sockets.map(({ timeout }) => timeout)).toEqual([0]);
    release.resolve();
    await watched;
    await send(listProductsPath, "application/json", "{}");
    const [first, second] = sockets;
    expect([sockets.length, first === second]).toEqual([2, true]);
    expect(second?.timeout).toBeGreaterThan(0);
  });
});

/** 64 KiB, of which a connection buffers some. */
const largeProduct = { product: { description: "x".repeat(64 * 1024) } };
/** More than any buffer holds: 640 MiB. */
const ENDLESS = 10_000;

describe.each(["h2", "http/1.1"])("a caller over %s that does not read", (version) => {
  async function openUnread(url: string, port: number): Promise<{ destroy(): void }> {
    if (version === "h2") {
      const session = connectHttp2(url);
      openGrpc(session, getProductPath).end(grpcRequest);
      return session;
    }
    const { connect } = await import("node:net");
    const socket = connect(port, "127.0.0.1").pause();
    socket.on("error", () => {});
    onTestFinished(() => {
      socket.destroy();
    });
    socket.write(
      `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/connect+proto\r\nContent-Length: ${grpcRequest.length}\r\n\r\n`,
    );
    socket.write(grpcRequest);
    return socket;
  }

  test("a caller that does not read is aborted, and its messages are not buffered without limit", async () => {
    let produced = 0;
    const watch: Watch = async function* () {
      while (produced < ENDLESS) {
        produced += 1;
        yield largeProduct;
      }
    };
    const { url, port, endedCount } = await startWatchServer({
      watch,
      limits: { watchCheckMs: 10, deliveryMs: 100 },
    });
    await openUnread(url, port);
    await expect.poll(endedCount).toBe(1);
    expect(produced).toBeGreaterThan(0);
    expect(produced).toBeLessThan(ENDLESS / 10);
  });

  test("a caller that leaves while it does not read ends its watch", async () => {
    let produced = 0;
    const watch: Watch = async function* () {
      while (produced < ENDLESS) {
        produced += 1;
        yield largeProduct;
      }
    };
    const { url, port, endedCount } = await startWatchServer({ watch });
    const caller = await openUnread(url, port);
    let last = -1;
    await expect
      .poll(() => {
        const isBlocked = produced > 0 && produced === last;
        last = produced;
        return isBlocked;
      })
      .toBe(true);
    caller.destroy();
    await expect.poll(endedCount).toBe(1);
    expect(produced).toBeLessThan(ENDLESS / 10);
  });
});

test("a watch whose request does not end is stopped before its handler runs", async () => {
  const { url, calls } = await startWatchServer({ limits: { bodyIdleMs: 30 } });
  const stream = openGrpc(connectHttp2(url), getProductPath);
  const ended = new Promise((resolve) => stream.once("trailers", resolve).once("response", resolve).resume());
  stream.write(grpcRequest);
  await ended;
  expect(calls.length).toBe(0);
  const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
  expect(await client.listProducts({})).toBeDefined();
});
