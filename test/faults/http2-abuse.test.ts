import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { blockLists } from "../support/rpc/blocking-handler.ts";
import { frameType, getRequestFrame, http2Frame, resetFrame } from "../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames, waitForClose } from "../support/rpc/raw-connection.ts";
import { connectHttp2, envelope, openGrpc } from "../support/rpc/raw-http2.ts";
import { getProductPath, listProductsGet } from "../support/rpc/rpc-clients.ts";
import { expectNoCrash, expectServing, startRpcServer } from "../support/rpc/rpc-server.ts";

const MEBIBYTE = 1024 * 1024;
const MAX_STREAMS = 256;
/** Connections from the address of a flood are refused for some seconds. */
const FLOODER = "127.0.0.2";
const pingFrame = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));

expectNoCrash();

describe("the server survives callers who vanish", () => {
  test.each(["destroyed", "reset"])(
    "the server survives callers whose connections are %s during calls",
    async (how) => {
      const signals: AbortSignal[] = [];
      const { url, port, lines } = await startRpcServer({
        catalog: {
          listProducts: async (_, { signal }) => {
            signals.push(signal);
            await once(signal, "abort");
            return {};
          },
        },
      });
      const sockets = await Promise.all(Array.from({ length: 5 }, () => openRawHttp2(port)));
      for (const socket of sockets) {
        const calls = Array.from({ length: 50 }, (_, index) =>
          getRequestFrame(2 * index + 1, listProductsGet),
        );
        socket.write(Buffer.concat(calls));
      }
      await expect.poll(() => signals.length).toBe(250);
      for (const socket of sockets) {
        if (how === "reset") socket.resetAndDestroy();
        else socket.destroy();
      }
      await expect.poll(() => signals.every(({ aborted }) => aborted)).toBe(true);
      await expectServing(url);
      expect(lines.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
    },
  );

  test("the server survives callers who disconnect before their HTTP/1.1 requests are complete", async () => {
    const { url, port } = await startRpcServer();
    for (let count = 0; count < 50; count += 1) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      const request = `POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`;
      await new Promise((resolve) => socket.write(request, resolve));
      if (count % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    await expectServing(url);
  });

  test("the server survives callers who disconnect while large responses are sent", async () => {
    const name = "x".repeat(MEBIBYTE);
    const { url } = await startRpcServer({
      catalog: { listProducts: () => ({ products: [{ name }, { name }, { name }] }) },
    });
    for (let count = 0; count < 20; count += 1) {
      const session = connectHttp2(url);
      for (let call = 0; call < 5; call += 1) {
        const stream = session.request({ ":path": listProductsGet });
        stream.on("error", () => {});
        stream.once("data", () => session.destroy());
      }
      await once(session, "close");
    }
    await expectServing(url);
  });
});

describe("a flood ends its connection, and the server goes on", () => {
  test("a flood of streams that are reset immediately, as fast as possible, ends its connection, and the server goes on", async () => {
    const { url, port } = await startRpcServer();
    const socket = await openRawHttp2(port, FLOODER);
    socket.resume();
    let sent = 0;
    for (; sent < 5_000 && !socket.destroyed; sent += 1) {
      socket.write(Buffer.concat([getRequestFrame(2 * sent + 1, "/healthz"), resetFrame(2 * sent + 1)]));
      if (sent % 100 === 0) await nextTurn();
    }
    await waitForClose(socket);
    await expectServing(url);
  });

  test("a flood of streams that are reset immediately, though few at a time, ends its connection, and the server goes on", async () => {
    const { url, port } = await startRpcServer();
    const socket = await openRawHttp2(port, FLOODER);
    let sent = 0;
    let isEnded = false;
    for await (const { type } of readFrames(socket)) {
      isEnded = type === frameType.goaway;
      if (isEnded || sent >= 50_000) break;
      if (sent > 0 && type !== frameType.ping) continue;
      // The acknowledgement of the ping shows that the server has handled the last burst.
      await nextTurn();
      for (let burst = 0; burst < 50; burst += 1, sent += 1) {
        socket.write(Buffer.concat([getRequestFrame(2 * sent + 1, "/healthz"), resetFrame(2 * sent + 1)]));
      }
      socket.write(pingFrame);
    }
    expect(isEnded).toBe(true);
    expect(sent, "a caller may reset 1,000 streams in a burst").toBeGreaterThanOrEqual(1_000);
    await expectServing(url);
  });

  test.each([
    ["pings", pingFrame],
    ["settings", http2Frame(frameType.settings, 0, 0)],
  ])(
    "a flood of %s whose responses are not read ends its connection, and the server goes on",
    async (_, frame) => {
      const { url, port } = await startRpcServer();
      const socket = await openRawHttp2(port, FLOODER);
      socket.pause();
      const flood = Buffer.concat(Array.from({ length: 10_000 }, () => frame));
      while (!socket.destroyed) {
        await new Promise((resolve) => socket.write(flood, resolve));
      }
      await expectServing(url);
    },
  );

  test("a flood of concurrent streams ends its connection, and no more than 256 of them are handled", async () => {
    const lists = blockLists();
    const { port, url } = await startRpcServer({ catalog: lists.catalog });
    const socket = await openRawHttp2(port, FLOODER);
    const openStreams = (first: number, count: number) => {
      const frames = Array.from({ length: count }, (_, index) =>
        getRequestFrame(2 * (first + index) + 1, listProductsGet),
      );
      socket.write(Buffer.concat(frames));
    };
    openStreams(0, MAX_STREAMS);
    await expect.poll(lists.startedCount).toBe(MAX_STREAMS);
    openStreams(MAX_STREAMS, 80);
    for await (const { type } of readFrames(socket)) if (type === frameType.goaway) break;
    lists.release();
    await expectServing(url);
    expect(lists.startedCount()).toBe(MAX_STREAMS);
  });
});

describe("an HTTP/2 connection", () => {
  test("an HTTP/2 connection without streams is ended by GOAWAY", async () => {
    const { url } = await startRpcServer({ limits: { idleSessionMs: 0, pingMs: 1_000 } });
    const session = connectHttp2(url);
    const stream = session.request({ ":path": "/healthz" });
    stream.resume();
    const [code] = await once(session, "goaway");
    expect(code).toBe(0);
    expect(stream.rstCode, "its stream got a response").toBe(0);
    if (!session.closed) await once(session, "close");
  });

  test("an HTTP/2 connection with a stream outlives the idle limit", async () => {
    const store = { ready: true };
    const { url } = await startRpcServer({
      isReady: async () => ({ ready: store.ready, checks: {} }),
      limits: { idleSessionMs: 0, pingMs: 2_000, healthWatchMs: 10, readinessMaxAgeMs: 0 },
    });
    const session = connectHttp2(url);
    const watch = openGrpc(session, "/grpc.health.v1.Health/Watch");
    watch.end(envelope(Buffer.alloc(0)));
    await once(watch, "data");
    // Three checks of idle connections end with a ping each, which a busy machine acknowledges before the next check.
    for (let count = 0; count < 3; count += 1) await once(session, "ping");
    store.ready = false;
    await once(watch, "data");
    expect([session.closed, watch.closed]).toEqual([false, false]);
  });

  test("an HTTP/2 connection whose peer does not acknowledge pings is ended", async () => {
    const { port } = await startRpcServer({ limits: { pingMs: 100 } });
    await waitForClose(await openRawHttp2(port));
  });
});
