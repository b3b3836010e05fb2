import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { LEASE_MS } from "../../src/infra/cache/invalidation/lease-monitor.ts";
import { checkFault, waitUntilBypassed } from "../support/cache/faulty-traffic.ts";
import type { Traffic } from "../support/cache/freshness.ts";
import {
  createRequest,
  createUndisturbedOptions,
  openTwoReplicas,
  type Replica,
  textOf,
  waitUntilUsed,
} from "../support/cache/replica.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import type { RedisServer } from "../support/stores/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../support/stores/tcp-proxy.ts";

/** No process listens on it. */
const CLOSED_PORT = "1";

/** Two servers, of which the second one replicates the first, and a proxy before each of two replicas. */
interface FailoverContext {
  first: RedisServer;
  second: RedisServer;
  proxies: readonly [TcpProxy, TcpProxy];
  replicas: readonly [Replica, Replica];
  traffic: Traffic;
}

/** Starts a server that can be a replica: it stores the data of its master in a folder. */
async function startReplicatedRedis(): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-redis-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return startDedicatedRedis(folder);
}

/** Switches the proxies to the second server, one after the other, and closes their connections. */
async function switchProxies({ second, proxies, traffic }: FailoverContext): Promise<void> {
  for (const proxy of proxies) {
    await proxy.cut();
    proxy.redirect(second.port);
    await proxy.restore();
    await traffic.progress(100, 5);
  }
}

const failovers: Record<string, (context: FailoverContext) => Promise<void>> = {
  "in order, and clients are disconnected one after the other": async (context) => {
    await context.first.command("failover");
    await Promise.all(context.replicas.map(waitUntilBypassed));
    await switchProxies(context);
  },
  "in order, and clients stay connected to the former master": async ({
    first,
    second,
    proxies,
    traffic,
  }) => {
    for (const proxy of proxies) proxy.redirect(second.port);
    await first.command("failover");
    await traffic.progress(200, 10);
  },
  "after the master is killed": async (context) => {
    await context.first.kill();
    await context.second.command("replicaof", "no", "one");
    await switchProxies(context);
  },
  "after the master is frozen": async (context) => {
    context.first.freeze();
    await Promise.all(context.replicas.map(waitUntilBypassed));
    await context.second.command("replicaof", "no", "one");
    await switchProxies(context);
  },
};

test.each(Object.entries(failovers))(
  "when a replica of Redis is promoted %s, no read is stale or fails, and reads use it afterwards",
  { timeout: 120_000 },
  async (_name, failover) => {
    const [first, second] = await Promise.all([startReplicatedRedis(), startReplicatedRedis()]);
    // Otherwise the first one waits 5 s for more replicas.
    await first.command("config", "set", "repl-diskless-sync-delay", "0");
    await second.command("replicaof", "127.0.0.1", String(first.port));
    await expect.poll(() => second.command("info", "replication")).toContain("master_link_status:up");
    const proxies: [TcpProxy, TcpProxy] = [await startTcpProxy(first.port), await startTcpProxy(first.port)];
    for (const proxy of proxies) onTestFinished(() => proxy.close());
    const [firstUrl, secondUrl] = proxies.map(({ port }) => `redis://127.0.0.1:${port}`);
    const replicas = await openTwoReplicas([firstUrl ?? "", secondUrl ?? ""]);
    await checkFault(replicas, (traffic) => failover({ first, second, proxies, replicas, traffic }));
    // Both use the promoted server.
    expect(
      String(await second.command("client", "list", "type", "pubsub"))
        .trim()
        .split("\n"),
    ).toHaveLength(2);
  },
);

test("while Redis is read-only, writes after the first ones do not wait for leases", async () => {
  const server = await startDedicatedRedis();
  const { clock, commandTimeoutMs } = createUndisturbedOptions();
  const [writer] = await openTwoReplicas([server.url, server.url], { clock, commandTimeoutMs });
  await server.command("replicaof", "127.0.0.1", CLOSED_PORT);
  const timer = setInterval(() => clock.advance(10), 5);
  for (let count = 0; count < 2; count += 1) expect(await writer.invalidate("key")).toBe(false);
  clearInterval(timer);
  let waits = 0;
  for (let count = 0; count < 20; count += 1) {
    let isOver = false;
    const write = writer.invalidate("key").finally(() => {
      isOver = true;
    });
    for (let turn = 0; turn < 5 && !isOver; turn += 1) {
      await server.command("ping");
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (!isOver) {
      waits += 1;
      clock.advance(LEASE_MS + 1);
    }
    expect(await write).toBe(false);
  }
  // Only after a reconnection, which happens every 2 s.
  expect(waits).toBeLessThan(10);
});

test("while Redis is read-only, the first writes try it repeatedly and later ones once; when it accepts writes, they use it again", async () => {
  const server = await startDedicatedRedis();
  const [writer, other] = await openTwoReplicas([server.url, server.url]);
  let value = "0";
  const read = async (replica: Replica) =>
    textOf(await replica.cache.getOrLoad(createRequest("key", async () => value)));
  await server.command("replicaof", "127.0.0.1", CLOSED_PORT);
  expect(await writer.invalidate("key")).toBe(false);
  expect(writer.bus.failures).toBeGreaterThanOrEqual(5);
  // A heartbeat from before may have arrived during the first write.
  expect(await writer.invalidate("key")).toBe(false);
  const { failures } = writer.bus;
  for (let count = 1; count <= 20; count += 1) {
    value = String(count);
    expect(await writer.invalidate("key")).toBe(false);
    expect([await read(writer), await read(other)]).toEqual([value, value]);
  }
  expect(writer.bus.failures).toBe(failures + 20);
  await server.command("replicaof", "no", "one");
  await Promise.all([writer, other].map(waitUntilUsed));
  await read(other);
  value = "last";
  expect(await writer.invalidate("key")).toBe(true);
  expect([await read(writer), await read(other)]).toEqual(["last", "last"]);
});
