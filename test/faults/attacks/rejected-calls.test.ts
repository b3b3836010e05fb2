import { BlockList } from "node:net";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { attackerAddress } from "../../support/attacks/attackers.ts";
import { callOnce } from "../../support/attacks/caller.ts";
import { sendHttp1 } from "../../support/attacks/http1-requests.ts";
import { isInDebt } from "../../support/attacks/short-connections.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import { openRateLimiter } from "../../support/rpc/rate-limited-server.ts";
import { waitForClose } from "../../support/rpc/raw-connection.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { expectNoCrash, startRpcServer } from "../../support/rpc/rpc-server.ts";

/** An address may cause 100 rejected calls. Nothing is regained during a test. */
const limits = { resetBurst: 10, resetsPerSecond: 1e-6 };
const attacker = attackerAddress(0);

expectNoCrash();

/** Makes calls in turn and returns how often each outcome occurred. */
async function countOutcomes(port: number, calls: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let count = 0; count < calls; count += 1) {
    const outcome = await callOnce(port, attacker);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

test("calls beyond the rate limit put their address into debt when they are a flood, and close its connections", async () => {
  const { port, lines } = await startRpcServer({ limits, rateLimiter: await openRateLimiter({ READ: 20 }) });
  const idle = sendHttp1({ port, path: "/healthz", localAddress: attacker, body: "" });
  await expect.poll(() => idle.status).toBeDefined();
  expect(await countOutcomes(port, 119)).toEqual({ 0: 20, [Code.ResourceExhausted]: 99 });
  expect(isInDebt(lines, attacker)).toBe(false);
  expect(idle.socket.closed).toBe(false);
  await countOutcomes(port, 3);
  expect(isInDebt(lines, attacker)).toBe(true);
  await waitForClose(idle.socket);
  expect(await callOnce(port, attacker)).toMatch(/^E/);
  expect(await callOnce(port)).toBe("0");
});

test("calls beyond the capacity put their address into debt when they are a flood", async () => {
  const lists = blockLists();
  const { port, lines } = await startRpcServer({
    limits,
    maxCalls: 1,
    catalog: lists.catalog,
    rateLimiter: await openRateLimiter({ READ: 1_000 }),
  });
  sendHttp1({ port, path: listProductsGet.split("?")[0] ?? "", localAddress: "127.0.2.1", body: "{}" });
  await expect.poll(lists.startedCount).toBe(1);
  expect(await countOutcomes(port, 99)).toEqual({ [Code.Unavailable]: 99 });
  expect(isInDebt(lines, attacker)).toBe(false);
  await countOutcomes(port, 3);
  expect(isInDebt(lines, attacker)).toBe(true);
});

test("calls beyond the rate limit through a trusted proxy cost its address nothing", async () => {
  const trustedProxies = new BlockList();
  trustedProxies.addAddress(attacker);
  const rateLimiter = await openRateLimiter({ READ: 20 });
  const { port, lines } = await startRpcServer({ limits, trustedProxies, rateLimiter });
  expect(await countOutcomes(port, 150)).toEqual({ 0: 20, [Code.ResourceExhausted]: 130 });
  expect(isInDebt(lines, attacker)).toBe(false);
});
