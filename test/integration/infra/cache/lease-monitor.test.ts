import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import type { CacheRequest } from "../../../../src/infra/cache/cache.ts";
import { LEASE_MS } from "../../../../src/infra/cache/invalidation/lease-monitor.ts";
import { newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import { MAX_RECONNECT_DELAY_MS } from "../../../../src/infra/redis/redis.ts";
import { checkFault, waitUntilBypassed } from "../../../support/cache/faulty-traffic.ts";
import type { Traffic } from "../../../support/cache/freshness.ts";
import {
  createRequest,
  createStoppedClock,
  createUndisturbedOptions,
  openReplica,
  openTwoReplicas,
  type Replica,
  type ReplicaOptions,
  textOf,
  waitUntilStored,
  waitUntilUsed,
} from "../../../support/cache/replica.ts";
import { startDedicatedRedis } from "../../../support/stores/dedicated-redis.ts";
import { startTcpProxy, type TcpProxy } from "../../../support/stores/tcp-proxy.ts";

/** Starts a proxy before the Redis of all tests. */
async function startProxy(): Promise<{ proxy: TcpProxy; url: string }> {
  const url = new URL(inject("redisUrl"));
  const proxy = await startTcpProxy(Number(url.port));
  onTestFinished(() => proxy.close());
  url.port = String(proxy.port);
  return { proxy, url: url.href };
}

/** Opens two replicas, of which the second one reaches Redis through a proxy. */
async function openProxiedReplicas(
  options: ReplicaOptions = {},
): Promise<{ proxy: TcpProxy; direct: Replica; proxied: Replica }> {
  const { proxy, url } = await startProxy();
  const [direct, proxied] = await openTwoReplicas([inject("redisUrl"), url], options);
  return { proxy, direct, proxied };
}

/** A value that a test changes, and the request for it. */
interface TestValue {
  text: string;
  request: CacheRequest<string>;
}

function createValue(text: string): TestValue {
  const value: TestValue = { text, request: createRequest(randomUUID(), async () => value.text) };
  return value;
}

const read = async (replica: Replica, { request }: TestValue) =>
  textOf(await replica.cache.getOrLoad(request));

interface Subject {
  proxy: TcpProxy;
  proxied: Replica;
  traffic: Traffic;
}

const networkFaults: Record<string, (subject: Subject) => Promise<void>> = {
  "is cut": async ({ proxy, proxied, traffic }) => {
    await proxy.cut();
    await waitUntilBypassed(proxied);
    await traffic.progress(500, 10);
    await proxy.restore();
  },
  // Data sent meanwhile is lost, and nothing reports the loss.
  "discards all data": async ({ proxy, proxied, traffic }) => {
    proxy.freeze();
    await waitUntilBypassed(proxied);
    await traffic.progress(500, 10);
    await proxy.cut();
    await proxy.restore();
  },
  "becomes slow": async ({ proxy, traffic }) => {
    for (const ms of [5, 20, 40, 100, 10]) {
      proxy.delay(ms);
      await traffic.progress(200, 4);
    }
    proxy.delay(0);
  },
};

test.each(Object.entries(networkFaults))(
  "when the network between a replica and Redis %s, no read is stale, fails or waits for it",
  { timeout: 120_000 },
  async (_name, fault) => {
    const { proxy, direct, proxied } = await openProxiedReplicas();
    // Only the direct replica writes: what the other one cannot publish is tested below.
    await checkFault([direct, proxied], (traffic) => fault({ proxy, proxied, traffic }));
  },
);

test("an invalidation that could not be published is repeated once by its job, also in the replica of the job", async () => {
  const { proxy, direct, proxied } = await openProxiedReplicas({ commandTimeoutMs: 30_000 });
  const value = createValue("old");
  const { key } = value.request;
  await read(direct, value);
  await proxy.cut();
  value.text = "new";
  const id = newGeneration();
  expect(await proxied.bus.invalidate([key], id)).toBe(false);
  expect(await read(proxied, value)).toBe("new");
  await direct.bus.ensureInvalidated([key], id);
  expect(await read(direct, value)).toBe("new");
  // The receipt is written in the background.
  await expect.poll(() => direct.bus.redisTier.hasReceipts([id])).toEqual([true]);
  const version = direct.bus.tagVersions.current;
  await direct.bus.ensureInvalidated([key], id);
  expect(direct.bus.tagVersions.current).toBe(version);
});

test("entries cached before a lost connection are not used after it, since invalidations were missed", async () => {
  const { proxy, direct, proxied } = await openProxiedReplicas({ commandTimeoutMs: 30_000 });
  const value = createValue("old");
  await read(proxied, value);
  await proxy.cut();
  value.text = "new";
  expect(await direct.invalidate(value.request.key)).toBe(true);
  await proxy.restore();
  await waitUntilUsed(proxied);
  expect(await read(proxied, value)).toBe("new");
});

test("an invalidation before a replica's first connection takes effect when it connects", async () => {
  const { proxy, url } = await startProxy();
  await proxy.cut();
  const namespace = randomUUID();
  const unconnected = openReplica(url, { namespace });
  const connected = openReplica(inject("redisUrl"), { namespace });
  await waitUntilUsed(connected);
  const value = createValue("old");
  await read(connected, value);
  value.text = "new";
  expect(await unconnected.invalidate(value.request.key)).toBe(false);
  await proxy.restore();
  await expect.poll(() => read(connected, value), { timeout: 30_000 }).toBe("new");
});

test("a replica that reconnects first uses no entries while another one cannot publish its writes yet", async () => {
  const [first, second] = await Promise.all([startProxy(), startProxy()]);
  const namespace = randomUUID();
  const clock = createStoppedClock();
  const early = openReplica(first.url, { namespace, clock });
  const late = openReplica(second.url, { namespace });
  await Promise.all([early, late].map(waitUntilUsed));
  await Promise.all([first.proxy.cut(), second.proxy.cut()]);
  await waitUntilBypassed(early);
  await first.proxy.restore();
  await expect.poll(() => early.bus.lease.isRedisReachable).toBe(true);
  // Two attempts to connect later at most, the other replica has reconnected too.
  clock.advance(2 * MAX_RECONNECT_DELAY_MS);
  const value = createValue("0");
  for (let version = 1; version <= 20; version += 1) {
    await read(early, value);
    value.text = String(version);
    expect(await late.invalidate(value.request.key)).toBe(false);
    expect(await read(early, value)).toBe(String(version));
  }
  expect(early.bus.lease.isUp).toBe(false);
  await second.proxy.restore();
  await waitUntilUsed(late);
  // The subscription may have reconnected only after the clock was advanced, and counts from then.
  clock.advance(4 * MAX_RECONNECT_DELAY_MS);
  await waitUntilUsed(early);
  value.text = "last";
  await expect.poll(() => late.invalidate(value.request.key)).toBe(true);
  await expect.poll(() => read(early, value)).toBe("last");
});

test("a replica that has lost its subscription still publishes its invalidations", async () => {
  const server = await startDedicatedRedis();
  const namespace = randomUUID();
  const unsubscribed = openReplica(server.url, { namespace });
  await waitUntilUsed(unsubscribed);
  const subscribers = String(await server.command("client", "list", "type", "pubsub"));
  const [, clientId = ""] = /^id=(\d+)/.exec(subscribers) ?? [];
  const other = openReplica(server.url, { namespace });
  await waitUntilUsed(other);
  const value = createValue("old");
  await read(other, value);
  await server.command("client", "kill", "id", clientId);
  await waitUntilBypassed(unsubscribed);
  value.text = "new";
  await expect.poll(() => unsubscribed.invalidate(value.request.key)).toBe(true);
  await expect.poll(() => read(other, value)).toBe("new");
});

test("a large invalidation leaves no entry in Redis that was read before its end", async () => {
  const [replica] = await openTwoReplicas();
  const keys = Array.from({ length: 3_000 }, () => randomUUID());
  const value = createValue("");
  // The key of the value is invalidated last.
  const tags = [...keys, value.request.key];
  for (let round = 0; round < 5; round += 1) {
    value.text = `old ${round}`;
    await replica.invalidate(value.request.key);
    await read(replica, value);
    value.text = `new ${round}`;
    let isOver = false;
    const writing = replica.invalidate(...tags).then(() => {
      isOver = true;
    });
    while (!isOver) {
      await read(replica, value);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writing;
    expect(await read(replica, value)).toBe(`new ${round}`);
  }
});

test("entries that Redis restores from a snapshot are not used by a process that missed the restart", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-redis-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const server = await startDedicatedRedis(folder);
  const namespace = randomUUID();
  const value = createValue("old");
  const { clock, commandTimeoutMs } = createUndisturbedOptions();
  const before = openReplica(server.url, { namespace, clock, commandTimeoutMs });
  await waitUntilUsed(before);
  await read(before, value);
  await waitUntilStored(before, value.request.key);
  await server.command("save");
  value.text = "new";
  // From then on no other replica can hold a lease.
  clock.advance(LEASE_MS + 1);
  expect(await before.invalidate(value.request.key)).toBe(true);
  await before.close();
  await server.kill();
  await server.start();
  const after = openReplica(server.url, { namespace, ...createUndisturbedOptions() });
  await waitUntilUsed(after);
  expect(await read(after, value)).toBe("new");
});

test("a new process uses the entries in Redis if the server has not restarted", async () => {
  const namespace = randomUUID();
  const value = createValue("value");
  const former = openReplica(inject("redisUrl"), { namespace, ...createUndisturbedOptions() });
  await waitUntilUsed(former);
  await read(former, value);
  await waitUntilStored(former, value.request.key);
  await former.close();
  const next = openReplica(inject("redisUrl"), { namespace, ...createUndisturbedOptions() });
  await waitUntilUsed(next);
  expect((await next.cache.getOrLoad(value.request)).state).toBe("redis");
});
