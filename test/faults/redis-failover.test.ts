import { randomUUID } from "node:crypto";
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
  openReplica,
  openTwoReplicas,
  type Replica,
  textOf,
  waitUntilUsed,
} from "../support/cache/replica.ts";
import { openSimulatedReplica } from "../support/cache/simulated-replica.ts";
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

/** Starts two servers, of which the second one replicates the first. */
async function startReplicatedPair(): Promise<[RedisServer, RedisServer]> {
  const [first, second] = await Promise.all([startReplicatedRedis(), startReplicatedRedis()]);
  // Otherwise a master waits 5 s for more replicas.
  for (const server of [first, second])
    await server.command("config", "set", "repl-diskless-sync-delay", "0");
  await second.command("replicaof", "127.0.0.1", String(first.port));
  await waitUntilLinked(second);
  return [first, second];
}

/** Waits until a server replicates its master. */
async function waitUntilLinked(server: RedisServer): Promise<void> {
  await expect.poll(() => server.command("info", "replication")).toContain("master_link_status:up");
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
    const [first, second] = await startReplicatedPair();
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

/** A writer at a former master that replicates the promoted server, and another replica at the promoted one. */
async function openSplitReplicas() {
  const [former, promoted] = await startReplicatedPair();
  const proxy = await startTcpProxy(former.port);
  onTestFinished(() => proxy.close());
  const { clock, commandTimeoutMs } = createUndisturbedOptions();
  const namespace = randomUUID();
  const writer = openReplica(`redis://127.0.0.1:${proxy.port}`, { clock, commandTimeoutMs, namespace });
  await waitUntilUsed(writer);
  await former.command("failover");
  await waitUntilLinked(former);
  const other = await openSimulatedReplica(promoted.url, namespace);
  let steps = 0;
  /** Advances the clock after the writer has received a heartbeat of the other replica. */
  const advance = async (ms: number) => {
    steps += 1;
    // The writer reconnects every 2 s.
    await expect.poll(() => former.command("pubsub", "channels", "*acks*"), { interval: 2 }).toHaveLength(1);
    await other.heartbeat();
    await promoted.command("set", "steps", String(steps));
    await expect.poll(() => former.command("get", "steps"), { interval: 2 }).toBe(String(steps));
    for (let turn = 0; turn < 3; turn += 1) {
      await writer.redis.client.ping().catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
    }
    clock.advance(ms);
  };
  return { promoted, proxy, clock, writer, other, advance };
}

test("a write at a former master is not acknowledged while a replica at the promoted one sends heartbeats, and reaches it after the switch", async () => {
  const { promoted, proxy, clock, writer, other, advance } = await openSplitReplicas();
  let isOver = false;
  const write = writer.invalidate("key").finally(() => {
    isOver = true;
  });
  for (let elapsedMs = 0; elapsedMs < 1_000; elapsedMs += 20) await advance(20);
  expect([isOver, other.invalidations]).toEqual([false, []]);
  await proxy.cut();
  await expect.poll(() => writer.redis.client.status, { interval: 2 }).not.toBe("ready");
  // Ends the wait of an attempt that the former master has rejected.
  clock.advance(LEASE_MS + 1);
  proxy.redirect(promoted.port);
  await proxy.restore();
  const message = await other.receive(1);
  expect([isOver, message.tags]).toEqual([false, ["key"]]);
  await other.acknowledge(message);
  // Other replicas may have sent heartbeats while the writer was not subscribed.
  await expect
    .poll(() => {
      clock.advance(LEASE_MS);
      return isOver;
    })
    .toBe(true);
  expect(await write).toBe(true);
});

test("a write at a former master that is not switched is repeated for 2.5 s", async () => {
  const { clock, writer, advance } = await openSplitReplicas();
  const startMs = clock.monotonicMs();
  let endMs: number | undefined;
  const write = writer.invalidate("key").finally(() => {
    endMs = clock.monotonicMs();
  });
  while (endMs === undefined) await advance(25);
  expect(await write).toBe(false);
  expect(endMs - startMs).toBeGreaterThanOrEqual(2_500);
});

test("a write whose commands time out is not repeated for 2.5 s, although heartbeats arrive", async () => {
  const server = await startDedicatedRedis();
  const proxy = await startTcpProxy(server.port);
  onTestFinished(() => proxy.close());
  const { clock } = createUndisturbedOptions();
  const namespace = randomUUID();
  const writer = openReplica(`redis://127.0.0.1:${proxy.port}`, { clock, namespace });
  await waitUntilUsed(writer);
  const other = await openSimulatedReplica(server.url, namespace);
  // Longer than the time limit of a command.
  proxy.delay(60);
  const startMs = clock.monotonicMs();
  let endMs: number | undefined;
  const write = writer.invalidate("key").finally(() => {
    endMs = clock.monotonicMs();
  });
  while (endMs === undefined) {
    await other.heartbeat();
    await server.command("ping");
    clock.advance(1);
  }
  expect(await write).toBe(false);
  expect(endMs - startMs).toBeLessThan(2_500);
});

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
  const [writer, other] = await openTwoReplicas([server.url, server.url], { commandTimeoutMs: 30_000 });
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
