import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { attackerAddress, floodWithReconnects } from "../../support/attacks/attackers.ts";
import { callOnce, runCaller, successRate } from "../../support/attacks/caller.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import { frameType, getRequestFrame, http2Frame, http2Preface } from "../../support/rpc/http2-frames.ts";
import { openRawHttp2, waitForClose } from "../../support/rpc/raw-connection.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../../support/rpc/rpc-server.ts";

const WORKERS = 8;
const REQUESTS = 100;
const ids = Array.from({ length: REQUESTS }, (_, index) => 2 * index + 1);
const http2Requests = Buffer.concat(ids.map((id) => getRequestFrame(id, listProductsGet)));
const http1Requests = Buffer.from(`GET ${listProductsGet} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(REQUESTS));
/** The last stream, and INTERNAL_ERROR. */
const goaway = http2Frame(frameType.goaway, 0, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 2]));

/** No unit is regained during a test, and no request grows older than `rapidResetMs`. */
const limits = { resetsPerSecond: 0.01, rapidResetMs: 60_000 };

expectNoCrash();

async function openRawHttp1(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  return socket;
}

describe.each([
  ["HTTP/2", openRawHttp2, http2Requests],
  ["HTTP/1.1", openRawHttp1, http1Requests],
])("requests over %s that are in flight when their caller closes the connection", (_, open, requests) => {
  /** Closes some connections with 100 requests in flight on each, and returns the outcome of a call from there. */
  async function dropRequests(
    resetBurst: number,
    connections: number,
    how: "end" | "reset",
  ): Promise<string> {
    const lists = blockLists();
    const { port } = await startRpcServer({ catalog: lists.catalog, limits: { ...limits, resetBurst } });
    for (let count = 1; count <= connections; count += 1) {
      const socket = await open(port);
      socket.write(requests);
      await expect.poll(lists.startedCount).toBe(count * REQUESTS);
      if (how === "reset") socket.resetAndDestroy();
      else socket.end();
      await waitForClose(socket);
      await expect.poll(lists.cancelledCount).toBe(count * REQUESTS);
    }
    return callOnce(port);
  }

  test.each(["end", "reset"] as const)("cost half of a reset each (%s)", async (how) => {
    expect(await dropRequests(200, 4, how)).toBe("0");
    expect(await dropRequests(199, 4, how)).not.toBe("0");
  });

  test("leave their address served when a load generator drops 1,000 at its end", async () => {
    expect(await dropRequests(1_000, 10, "end")).toBe("0");
  });
});

test("streams in flight when their caller ends the session with an error cost the same", async () => {
  const lists = blockLists();
  const { port } = await startRpcServer({ catalog: lists.catalog, limits: { ...limits, resetBurst: 49 } });
  const socket = await openRawHttp2(port);
  socket.write(http2Requests);
  await expect.poll(lists.startedCount).toBe(REQUESTS);
  socket.write(goaway);
  await waitForClose(socket);
  expect(await callOnce(port)).not.toBe("0");
});

test.each([
  ["HTTP/2", http2Preface, http2Requests],
  ["HTTP/1.1", Buffer.alloc(0), http1Requests],
])(
  "requests over %s, dropped by workers that reconnect, put their address into debt, and other callers are served",
  async (_, preface, bytes) => {
    const lists = blockLists();
    const { port } = await startRpcServer({ catalog: lists.catalog, limits });
    const flood = floodWithReconnects(port, attackerAddress(0), {
      workers: WORKERS,
      connections: 20,
      preface,
      bytes,
      isClosing: true,
    });
    const [report] = await Promise.all([runCaller(port, 100), flood]);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    // The burst of 1,000 resets, and the connections that are open when it is spent.
    expect(lists.startedCount()).toBeLessThanOrEqual(2_000 + WORKERS * REQUESTS);
    expect(lists.startedCount()).toBeGreaterThan(1_900);
    expect(await callOnce(port, attackerAddress(0))).not.toBe("0");
  },
);
