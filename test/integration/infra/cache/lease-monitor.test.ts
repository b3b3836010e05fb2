import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, test, vi } from "vitest";
import { LEASE_MS } from "../../../../src/infra/cache/lease-monitor.ts";
import { newGeneration } from "../../../../src/infra/cache/redis-tier.ts";
import { MAX_RECONNECT_DELAY_MS } from "../../../../src/infra/redis/redis.ts";
import { checkFreshness } from "../../../support/cache/freshness.ts";
import {
  cacheRequest,
  openReplica,
  openReplicas,
  type Replica,
  resultOf,
  untilLive,
} from "../../../support/cache/replica.ts";
import { cacheClientOf, SlowRows } from "../../../support/cache/slow-rows.ts";
import { startRedisServer } from "../../../support/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../../../support/tcp-proxy.ts";

/** A replica that reaches the Redis of all tests over a bad road, and one beside it. */
async function apart(): Promise<{ road: TcpProxy; far: Replica; near: Replica; close(): Promise<void> }> {
  const url = new URL(inject("redisUrl"));
  const road = await startTcpProxy(Number(url.port));
  const long = new URL(url);
  long.port = String(road.port);
  const [far, near] = await openReplicas([long.href, url.href]);
  if (far === undefined || near === undefined) throw new Error("they were not opened");
  const close = async () => {
    await Promise.all([far.close(), near.close()]);
    await road.close();
  };
  return { road, far, near, close };
}

const roads: Record<string, (road: TcpProxy) => Promise<void>> = {
  "is cut": async (road) => {
    await road.cut();
    await sleep(700);
    await road.mend();
  },
  // What was sent meanwhile is lost, and nobody tells: its end is not known before it is tried.
  "passes nothing on": async (road) => {
    road.freeze();
    await sleep(1_500);
    await road.cut();
    await road.mend();
  },
  "has become long": async (road) => {
    for (const ms of [5, 20, 40, 100, 10]) {
      road.delay(ms);
      await sleep(250);
    }
    road.delay(0);
  },
};

for (const [name, fault] of Object.entries(roads)) {
  test(`one whose road to Redis ${name} gives nothing outdated, has no error, and comes back`, async () => {
    const { road, far, near, close } = await apart();
    const rows = new SlowRows(4);
    const during = sleep(100)
      .then(() => fault(road))
      // It is back a second after it has found its way, and some of its rows are as it left them.
      .then(() => sleep(2_000));
    const { stale, readMs } = await checkFreshness({
      clients: [near, far].map((replica) => cacheClientOf(replica, rows)),
      // Who is away for himself alone cannot tell: see the next test.
      writingClients: 1,
      ...{ rows: 5, reads: 500, writes: 20, readers: 20, delayMs: LEASE_MS, during },
      restMs: () => Math.random() * 30,
    });
    expect(stale.slice(0, 5)).toEqual([]);
    expect(readMs[Math.floor(readMs.length * 0.99)]).toBeLessThan(300);
    await untilLive(far);
    await close();
  });
}

test("a write that could not be told is told by its job, and dropped by the process that runs it as well", async () => {
  const { road, far, near, close } = await apart();
  const key = randomUUID();
  let value = "old";
  const ask = cacheRequest(key, async () => value);
  await near.cache.getOrLoad(ask);
  expect((await near.cache.getOrLoad(ask)).state).toBe("memory");
  await road.cut();
  value = "new";
  const id = newGeneration();
  expect(await far.bus.invalidate([key], id)).toBe(false);
  expect(resultOf(await far.cache.getOrLoad(ask))).toBe("new");
  await near.bus.ensureInvalidated([key], id);
  expect(resultOf(await near.cache.getOrLoad(ask))).toBe("new");
  // Once it is done, it is not done again.
  await near.cache.getOrLoad(ask);
  await sleep(20);
  await near.bus.ensureInvalidated([key], id);
  expect((await near.cache.getOrLoad(ask)).state).toBe("memory");
  await close();
});

test("what was kept before a loss is not used after it: nobody tells again what was missed", async () => {
  const { road, far, near, close } = await apart();
  let value = "old";
  const ask = cacheRequest(randomUUID(), async () => value);
  await far.cache.getOrLoad(ask);
  await road.cut();
  value = "new";
  expect(await near.write(ask.key)).toBe(true);
  await road.mend();
  await untilLive(far);
  expect(resultOf(await far.cache.getOrLoad(ask))).toBe("new");
  await close();
});

test("what was written before the first connection is told by that", async () => {
  const url = new URL(inject("redisUrl"));
  const road = await startTcpProxy(Number(url.port));
  await road.cut();
  const namespace = randomUUID();
  const early = openReplica(`redis://:${url.password}@127.0.0.1:${road.port}`, namespace);
  const near = openReplica(url.href, namespace);
  await untilLive(near);
  let value = "old";
  const ask = cacheRequest(randomUUID(), async () => value);
  await near.cache.getOrLoad(ask);
  value = "new";
  expect(await early.write(ask.key)).toBe(false);
  await road.mend();
  await vi.waitFor(async () => expect(resultOf(await near.cache.getOrLoad(ask))).toBe("new"), 5_000);
  await Promise.all([early.close(), near.close()]);
  await road.close();
});

test("who is back sooner than the others relies on nothing that they cannot tell of yet", async () => {
  const url = new URL(inject("redisUrl"));
  const roads = await Promise.all([0, 1].map(() => startTcpProxy(Number(url.port))));
  const [soon, late] = await openReplicas(
    roads.map(({ port }) => `redis://:${url.password}@127.0.0.1:${port}`),
  );
  if (soon === undefined || late === undefined) throw new Error("they were not opened");
  await Promise.all(roads.map((road) => road.cut()));
  await roads[0]?.mend();
  let value = 0;
  const ask = cacheRequest(randomUUID(), async () => String(value));
  // For as long as everybody may take to try again.
  const endMs = performance.now() + 2 * MAX_RECONNECT_DELAY_MS;
  while (performance.now() < endMs) {
    await soon.cache.getOrLoad(ask);
    value += 1;
    expect(await late.write(ask.key)).toBe(false);
    await sleep(LEASE_MS);
    expect(resultOf(await soon.cache.getOrLoad(ask))).toBe(String(value));
  }
  await roads[1]?.mend();
  await Promise.all([soon, late].map(untilLive));
  expect(await late.write(ask.key)).toBe(true);
  await Promise.all([soon.close(), late.close()]);
  await Promise.all(roads.map((road) => road.close()));
});

test("who has lost his subscription still tells the others what he writes", async () => {
  const server = await startRedisServer();
  const namespace = randomUUID();
  const deaf = openReplica(server.url, namespace);
  await untilLive(deaf);
  const [, id = ""] =
    /^id=(\d+)/.exec(String(await server.command("client", "list", "type", "pubsub"))) ?? [];
  const near = openReplica(server.url, namespace);
  await untilLive(near);
  let value = "old";
  const ask = cacheRequest(randomUUID(), async () => value);
  await near.cache.getOrLoad(ask);
  await server.command("client", "kill", "id", id);
  await vi.waitFor(async () => expect((await deaf.cache.getOrLoad(ask)).state).toBe("bypass"));
  value = "new";
  expect(await deaf.write(ask.key)).toBe(true);
  await sleep(LEASE_MS);
  expect(resultOf(await near.cache.getOrLoad(ask))).toBe("new");
  await Promise.all([deaf.close(), near.close()]);
  await server.stop();
});

test("a large write leaves nothing of what was read in Redis before its end", async () => {
  const [one] = await openReplicas([inject("redisUrl")]);
  if (one === undefined) throw new Error("it was not opened");
  const keys = Array.from({ length: 3_000 }, () => randomUUID());
  const last = keys.at(-1) ?? "";
  let value = "old";
  const ask = cacheRequest(last, async () => value);
  for (let round = 0; round < 5; round += 1) {
    value = "old";
    await one.cache.getOrLoad(ask);
    await sleep(20);
    value = "new";
    let over = false;
    const writing = one.write(...keys).then(() => {
      over = true;
    });
    while (!over) {
      await one.cache.getOrLoad(ask);
      await sleep(0);
    }
    await writing;
    expect(resultOf(await one.cache.getOrLoad(ask))).toBe("new");
    value = "old";
    await one.write(last);
  }
  await one.close();
});

test("what a Redis has brought back from a snapshot is not believed by those who did not see it go", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-redis-"));
  const server = await startRedisServer(folder);
  const namespace = randomUUID();
  let value = "old";
  const ask = cacheRequest(randomUUID(), async () => value);
  const before = openReplica(server.url, namespace);
  await untilLive(before);
  await before.cache.getOrLoad(ask);
  await sleep(20);
  await server.command("save");
  value = "new";
  await before.write(ask.key);
  await before.close();
  await server.kill();
  await server.start();
  const after = openReplica(server.url, namespace);
  await untilLive(after);
  expect(resultOf(await after.cache.getOrLoad(ask))).toBe("new");
  await after.close();
  // Where nothing was lost, a new process finds what others have kept.
  await sleep(20);
  const next = openReplica(server.url, namespace);
  await untilLive(next);
  expect((await next.cache.getOrLoad(ask)).state).toBe("redis");
  await next.close();
  await server.stop();
  await rm(folder, { recursive: true });
});
