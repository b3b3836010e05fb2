import type { Socket } from "node:net";
import { afterAll, expect, test } from "vitest";
import { attackerAddress, floodWithReconnects, openIdle } from "../support/attacks/attackers.ts";
import { type CallerReport, runCaller, successRate } from "../support/attacks/caller.ts";
import { writeLongResults } from "../support/long/long-results.ts";
import { getRequestFrame, headerBombFrame, resetFrame } from "../support/rpc/http2-frames.ts";
import { expectNoCrash, startRpcServer } from "../support/rpc/rpc-server.ts";

const CALLS = 1_000;
const rows: string[][] = [];

expectNoCrash();

/** Checks what a caller at another address saw, and adds it to the table. */
function expectServed(attack: string, report: CallerReport, held: string): void {
  const { calls, failures, failedProbes } = report;
  const served = [calls - failures.length, calls - failedProbes.length].map(
    (count) => `${count} of ${calls}`,
  );
  rows.push([attack, ...served, held]);
  expect(successRate(report), failures.join()).toBeGreaterThanOrEqual(0.99);
  expect(failedProbes).toEqual([]);
}

const openCount = (sockets: readonly Socket[]) => sockets.filter(({ destroyed }) => !destroyed).length;

test("10,000 idle connections from one address leave half of all connections to others", async () => {
  const { port } = await startRpcServer();
  const idle = await openIdle(port, attackerAddress(0), 10_000);
  const report = await runCaller(port, CALLS);
  await expect.poll(() => openCount(idle)).toBe(5_000);
  expectServed("10,000 idle connections of one address", report, "5,000 connections");
});

test("idle connections from nine addresses leave a tenth of all connections to others", async () => {
  const { port } = await startRpcServer();
  const addresses = Array.from({ length: 9 }, (_, index) => attackerAddress(index));
  // Both ends of a connection are files of this process, whose limit may be 20,000.
  const idle = (await Promise.all(addresses.map((address) => openIdle(port, address, 1_050)))).flat();
  const report = await runCaller(port, CALLS);
  await expect.poll(() => openCount(idle)).toBeLessThanOrEqual(9_009);
  const open = openCount(idle);
  expect(open).toBeGreaterThanOrEqual(8_991);
  expectServed(
    "9,450 idle connections of nine addresses",
    report,
    `${open.toLocaleString("en")} connections`,
  );
});

const ids = Array.from({ length: 1_000 }, (_, index) => 2 * index + 1);
const rapidResets = ids.flatMap((id) => [getRequestFrame(id, "/readyz"), resetFrame(id)]);
const headerBombs = ids.slice(0, 180).map((id) => headerBombFrame(id, id === 1));

test.each([
  ["168,000 rapid resets on 168 connections of one address", rapidResets],
  ["30,240 header bombs on 168 connections of one address", headerBombs],
])("%s are refused beyond their burst", async (name, frames) => {
  // Nothing is regained on a slow machine.
  const { port } = await startRpcServer({ limits: { resetsPerSecond: 0.01 } });
  const flood = floodWithReconnects(port, attackerAddress(0), {
    workers: 8,
    connections: 21,
    bytes: Buffer.concat(frames),
  });
  const [report, { served, refused }] = await Promise.all([runCaller(port, CALLS), flood]);
  expect(served + refused).toBe(168);
  expect(served).toBeLessThanOrEqual(16);
  expectServed(name, report, `0 connections; ${refused} were refused`);
});

afterAll(() => {
  writeLongResults(
    "Attacks",
    ["attack", "calls of another address served", "health checks served", "held by the attackers afterwards"],
    rows,
  );
});
