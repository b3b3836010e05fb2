import { expect, test } from "vitest";
import { attackerAddress, floodWithReconnects } from "../../support/attacks/attackers.ts";
import { runCaller, successRate } from "../../support/attacks/caller.ts";
import { getRequestFrame, headerBombFrame, resetFrame } from "../../support/rpc/http2-frames.ts";
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

expectNoCrash();

test.each([
  ["streams that are reset immediately", resets],
  ["header blocks that are refused", bombs],
])(
  "%s, by workers that reconnect, put their address into debt, and other callers are served",
  async (_, bytes) => {
    const { port } = await startRpcServer();
    const flood = floodWithReconnects(port, attackerAddress(0), {
      workers: WORKERS,
      connections: CONNECTIONS_PER_WORKER,
      bytes,
    });
    const [report, { served, refused }] = await Promise.all([runCaller(port, CALLS), flood]);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    // Each worker is served until the burst of 1,000 of the address is spent.
    expect(served).toBeLessThanOrEqual(2 * WORKERS);
    expect(refused).toBe(WORKERS * CONNECTIONS_PER_WORKER - served);
  },
);
