import { expect, test } from "vitest";
import { attackerAddress, floodWithReconnects } from "../../support/attacks/attackers.ts";
import { runCaller, successRate } from "../../support/attacks/caller.ts";
import {
  frameType,
  getRequestFrame,
  headerBombFrame,
  http2Frame,
  resetFrame,
} from "../../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames } from "../../support/rpc/raw-connection.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../../support/rpc/rpc-server.ts";

const CALLS = 100;
const WORKERS = 8;
const CONNECTIONS_PER_WORKER = 20;

/** Streams that are reset as soon as they are opened. */
const resets = Buffer.concat(
  Array.from({ length: 1_000 }, (_, index) => [
    getRequestFrame(2 * index + 1, "/readyz"),
    resetFrame(2 * index + 1),
  ]).flat(),
);
/** Header blocks of 15 kB that decompress to more than 1 MB, and are refused. */
const bombs = Buffer.concat(
  Array.from({ length: 300 }, (_, index) => headerBombFrame(2 * index + 1, index === 0)),
);

/** The response to a ping that was never sent, which ends its connection. */
const violation = http2Frame(frameType.ping, 1, 0, Buffer.alloc(8));

expectNoCrash();

test.each([
  // Each worker is served until the burst of 1,000 of the address is spent.
  ["streams that are reset immediately", resets, 2 * WORKERS],
  ["header blocks that are refused", bombs, 2 * WORKERS],
  // A violation costs 100, and some connections are in flight when the burst is spent.
  ["violations of the protocol", violation, 11 + WORKERS],
])(
  "%s, by workers that reconnect, put their address into debt, and other callers are served",
  async (_, bytes, maxServed) => {
    // Nothing is regained, and nothing waits longer, on a slow machine.
    const limits = { resetsPerSecond: 0.01, rapidResetMs: 60_000 };
    const { port } = await startRpcServer({ limits });
    const flood = floodWithReconnects(port, attackerAddress(0), {
      workers: WORKERS,
      connections: CONNECTIONS_PER_WORKER,
      bytes,
    });
    const [report, { served, refused }] = await Promise.all([runCaller(port, CALLS), flood]);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    expect(served).toBeLessThanOrEqual(maxServed);
    expect(refused).toBe(WORKERS * CONNECTIONS_PER_WORKER - served);
  },
);

test("streams that are reset in the same read are no calls once their connection has reset ten, further ones are", async () => {
  const { port, lines } = await startRpcServer();
  const socket = await openRawHttp2(port, attackerAddress(0));
  const ids = Array.from({ length: 150 }, (_, index) => 2 * index + 1);
  const pairs = ids.flatMap((id) => [getRequestFrame(id, listProductsGet), resetFrame(id)]);
  socket.write(Buffer.concat([...pairs, getRequestFrame(301, listProductsGet)]));
  let isServed = false;
  for await (const { type, stream } of readFrames(socket)) {
    isServed = type === frameType.headers && stream === 301;
    if (isServed) break;
  }
  expect(isServed).toBe(true);
  await expect.poll(() => lines.some(({ fields }) => fields.code === "OK")).toBe(true);
  // Ten, those that two reads divide from their resets, and the last.
  expect(lines.filter(({ message }) => message === "Call ended").length).toBeLessThanOrEqual(20);
});
