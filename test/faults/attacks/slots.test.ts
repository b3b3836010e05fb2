import { expect, test } from "vitest";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { Authenticate } from "../../../src/rpc/call/access/authenticate-call.ts";
import { type SentRequest, sendHttp1 } from "../../support/attacks/http1-requests.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import { openRateLimiter } from "../../support/rpc/rate-limited-server.ts";
import { getProductPath, post } from "../../support/rpc/rpc-clients.ts";
import {
  expectNoCrash,
  type RpcServer,
  type RpcServerOptions,
  startRpcServer,
} from "../../support/rpc/rpc-server.ts";
import { authenticateByName } from "../../support/rpc/token-principals.ts";

const { getProduct } = CatalogService.method;
const listProductsPath = `/${CatalogService.typeName}/ListProducts`;
const MAX_CALLS = 256;
const MEBIBYTE = 2 ** 20;

expectNoCrash();

interface Attacker {
  localAddress: string;
  token: string;
}

/** Starts a server that counts the calls which it has authenticated. */
async function startCounting(
  options: RpcServerOptions = {},
): Promise<RpcServer & { authenticatedCount(): number }> {
  let authenticated = 0;
  const authenticate: Authenticate = (credential) => {
    authenticated += 1;
    return authenticateByName(credential);
  };
  const server = await startRpcServer({ maxCalls: MAX_CALLS, authenticate, ...options });
  return { ...server, authenticatedCount: () => authenticated };
}

/** Sends requests whose bodies stall after the first byte, and waits until the server has admitted or rejected each. */
async function stallBodies(
  { port, authenticatedCount }: RpcServer & { authenticatedCount(): number },
  attackers: readonly Attacker[],
): Promise<SentRequest[]> {
  const before = authenticatedCount();
  const requests = attackers.map((attacker) =>
    sendHttp1({ port, path: getProductPath, body: "{", contentLength: 100, ...attacker }),
  );
  const rejected = () => requests.filter(({ status }) => status === 503).length;
  await expect
    .poll(() => authenticatedCount() - before + rejected(), { timeout: 30_000 })
    .toBe(attackers.length);
  return requests;
}

/** Makes calls in turn. @returns how often each status was returned */
async function countStatuses(url: string, count: number, token?: string): Promise<Record<number, number>> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const counts: Record<number, number> = {};
  for (let call = 0; call < count; call += 1) {
    const { status } = await post(url, getProduct, { sku: "A" }, headers);
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

const attackers = (count: number, create: (index: number) => Attacker): Attacker[] =>
  Array.from({ length: count }, (_, index) => create(index));

test.each([
  ["280 of one account", 280, (): Attacker => ({ localAddress: "127.0.1.1", token: "account-1" })],
  [
    "280 of ten accounts at ten addresses",
    280,
    (index: number): Attacker => ({ localAddress: `127.0.1.${index % 10}`, token: `account-${index % 10}` }),
  ],
  [
    "280 of as many accounts",
    280,
    (index: number): Attacker => ({ localAddress: `127.0.1.${index % 250}`, token: `account-${index}` }),
  ],
])("bodies that stall, %s, take no slot from another caller", async (_, count, create) => {
  const server = await startCounting();
  await stallBodies(server, attackers(count, create));
  expect(await countStatuses(server.url, 329, "account-victim")).toEqual({ 200: 329 });
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("bodies that stall take no slot from a signed-in caller at the same address", async () => {
  const server = await startCounting();
  await stallBodies(
    server,
    attackers(280, () => ({ localAddress: "127.0.0.1", token: "account-1" })),
  );
  expect(await countStatuses(server.url, 50, "account-victim")).toEqual({ 200: 50 });
  expect(await countStatuses(server.url, 50)).toEqual({ 200: 50 });
});

test("slow calls of one caller leave slots for others, and the slots of many are shared", async () => {
  const lists = blockLists();
  const server = await startCounting({ catalog: lists.catalog });
  const send = (attacker: Attacker) =>
    sendHttp1({ port: server.port, path: listProductsPath, body: "{}", ...attacker });
  const requests = attackers(300, () => ({ localAddress: "127.0.1.1", token: "account-1" })).map(send);
  const rejected = () => requests.filter(({ status }) => status === 503).length;
  await expect.poll(() => [lists.startedCount(), rejected()]).toEqual([224, 76]);
  expect(await countStatuses(server.url, 329, "account-victim")).toEqual({ 200: 329 });
  // Ten more callers fill the reserve: eight slots are left for each, and one for a newcomer.
  for (let index = 2; index < 12; index += 1) {
    requests.push(
      ...attackers(30, () => ({ localAddress: "127.0.1.2", token: `account-${index}` })).map(send),
    );
  }
  await expect.poll(() => lists.startedCount() + rejected()).toBe(600);
  expect(lists.startedCount()).toBeLessThanOrEqual(MAX_CALLS);
  lists.release();
  await expect.poll(() => requests.filter(({ status }) => status === 200).length).toBe(lists.startedCount());
});

test("a rejected call is charged to its caller", async () => {
  const lists = blockLists();
  const rateLimiter = await openRateLimiter({ READ: 30 });
  const server = await startCounting({ maxCalls: 1, rateLimiter, catalog: lists.catalog });
  const slow = sendHttp1({
    port: server.port,
    path: listProductsPath,
    body: "{}",
    localAddress: "127.0.1.1",
  });
  await expect.poll(lists.startedCount).toBe(1);
  expect(await countStatuses(server.url, 25)).toEqual({ 503: 25 });
  lists.release();
  await expect.poll(() => slow.status).toBe(200);
  expect(await countStatuses(server.url, 10)).toEqual({ 200: 5, 429: 5 });
});

test("large bodies that stall are limited in bytes, and end with UNAVAILABLE, those of the largest caller first", async () => {
  const maxReceivedBytes = 8 * MEBIBYTE;
  const server = await startCounting({ limits: { maxReceivedBytes } });
  const { port } = server;
  const body = `{"sku":"${"x".repeat(MEBIBYTE)}`;
  const send = (token: string) =>
    sendHttp1({
      port,
      path: getProductPath,
      body,
      contentLength: 2 * MEBIBYTE,
      localAddress: "127.0.1.1",
      token,
    });
  const other = send("account-other");
  const requests = Array.from({ length: 40 }, () => send("account-1"));
  const ended = () => requests.filter(({ status }) => status === 503).length;
  // Each body has a little more than a mebibyte: seven of them are held, the other caller's included.
  await expect.poll(ended, { timeout: 30_000 }).toBe(34);
  expect(other.status).toBeUndefined();
  expect(await countStatuses(server.url, 5, "account-victim")).toEqual({ 200: 5 });
});
