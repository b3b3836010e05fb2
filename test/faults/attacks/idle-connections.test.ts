import { BlockList } from "node:net";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { attack, attackerAddress, openIdle } from "../../support/attacks/attackers.ts";
import { callOnce, probe, runCaller, successRate } from "../../support/attacks/caller.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import { getRequestFrame, http2Preface } from "../../support/rpc/http2-frames.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../../support/rpc/rpc-server.ts";

const limits = { maxConnections: 400, reservedConnections: 20, reservedConnectionMs: 200 };
const CALLS = 100;
const isOpen = ({ destroyed }: { destroyed: boolean }) => !destroyed;

expectNoCrash();

describe("idle connections", () => {
  test("idle connections from one address take half of all connections, and others are served", async () => {
    const { port } = await startRpcServer({ limits });
    const idle = await openIdle(port, attackerAddress(0), 450);
    const report = await runCaller(port, CALLS);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    // Those of the reserve are closed without a request.
    await expect.poll(() => idle.filter(isOpen).length).toBe(200);
  });

  test("idle connections from nine addresses take a tenth of all connections each, and others are served", async () => {
    const { port } = await startRpcServer({ limits });
    const addresses = Array.from({ length: 9 }, (_, index) => attackerAddress(index));
    const idle = await Promise.all(addresses.map((address) => openIdle(port, address, 100)));
    const report = await runCaller(port, CALLS);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    await expect.poll(() => idle.flat().filter(isOpen).length).toBeLessThanOrEqual(361);
    for (const sockets of idle) expect(sockets.filter(isOpen).length).toBeGreaterThanOrEqual(39);
  });

  test("idle connections from many addresses take all places, and are closed for others, those of the largest first", async () => {
    const { port } = await startRpcServer({ limits });
    const addresses = Array.from({ length: 60 }, (_, index) => attackerAddress(index));
    const large = await openIdle(port, attackerAddress(100), 100);
    await Promise.all(addresses.map((address) => openIdle(port, address, 8)));
    const report = await runCaller(port, CALLS);
    expect(successRate(report), report.failures.join()).toBeGreaterThanOrEqual(0.99);
    expect(report.failedProbes).toEqual([]);
    expect(large.filter(isOpen).length).toBeLessThan(100);
  });
});

describe("at the limit of connections", () => {
  const listFrame = getRequestFrame(1, listProductsGet);

  /** Fills a server with connections that have a call in flight. */
  async function fillWithCalls() {
    const lists = blockLists();
    const server = await startRpcServer({
      catalog: lists.catalog,
      limits: { ...limits, maxConnections: 40, reservedConnectionMs: 5_000 },
    });
    const busy = Array.from({ length: 10 }, (_, index) =>
      Array.from({ length: 4 }, () =>
        attack(server.port, attackerAddress(index), Buffer.concat([http2Preface, listFrame])),
      ),
    ).flat();
    await expect.poll(lists.startedCount).toBe(40);
    return { ...server, busy };
  }

  test("at the limit of connections, connections with a call in flight stay open, and probes are served", async () => {
    const { port, busy } = await fillWithCalls();
    expect(await Promise.all(["/healthz", "/livez", "/readyz"].map((path) => probe(port, path)))).toEqual([
      200, 200, 200,
    ]);
    expect(busy.filter(isOpen).length).toBe(40);
  });

  test("at the limit of connections, calls are UNAVAILABLE", async () => {
    const { port } = await fillWithCalls();
    expect(await callOnce(port)).toBe(String(Code.Unavailable));
    expect(await probe(port, "/")).toBe(503);
  });
});

test("connections of trusted proxies are exempt from shares", async () => {
  const trustedProxies = new BlockList();
  trustedProxies.addAddress(attackerAddress(0));
  const { port } = await startRpcServer({ limits, trustedProxies });
  expect(await openIdle(port, attackerAddress(0), 390)).toHaveLength(390);
  // The total limits them too.
  const report = await runCaller(port, 10);
  expect(report).toEqual({ calls: 10, failures: [], failedProbes: [] });
});
