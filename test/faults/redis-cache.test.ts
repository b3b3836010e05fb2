import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { LEASE_MS } from "../../src/infra/cache/lease-monitor.ts";
import { checkFreshness } from "../support/cache/freshness.ts";
import { cacheRequest, openReplicas, type Replica, untilLive } from "../support/cache/replica.ts";
import { cacheClientOf, SlowRows } from "../support/cache/slow-rows.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";

/** Two replicas on a Redis of their own. */
async function opened(): Promise<{ server: RedisServer; replicas: Replica[]; close(): Promise<void> }> {
  const server = await startRedisServer();
  const replicas = await openReplicas([server.url, server.url]);
  const close = async () => {
    await Promise.all(replicas.map((replica) => replica.close()));
    await server.stop();
  };
  return { server, replicas, close };
}

const faults: Record<string, (server: RedisServer) => Promise<void>> = {
  "is frozen for a blink": async (server) => {
    for (let count = 0; count < 8; count += 1) {
      server.freeze();
      await sleep(20 * count);
      server.thaw();
      await sleep(60);
    }
  },
  "is frozen for longer than connections are waited for": async (server) => {
    server.freeze();
    await sleep(2_500);
    server.thaw();
  },
  "is killed, and back after a moment": async (server) => {
    await server.kill();
    await sleep(30);
    await server.start();
  },
  // By then everybody tries again at another time.
  "is killed, and back after a while": async (server) => {
    await server.kill();
    await sleep(2_000);
    await server.start();
  },
  "is flushed": async (server) => {
    for (let count = 0; count < 20; count += 1) {
      await server.command("flushall");
      await sleep(25);
    }
  },
  "is full": async (server) => {
    await server.command("config", "set", "maxmemory", "1");
    await sleep(700);
    await server.command("config", "set", "maxmemory", "0");
  },
  "is paused": async (server) => {
    await server.command("client", "pause", "400", "ALL");
    await sleep(600);
  },
  "takes no writes, as while it fails over": async (server) => {
    await server.command("client", "pause", "1200", "WRITE");
    await sleep(1_400);
  },
  "loses its subscribers": async (server) => {
    for (let count = 0; count < 3; count += 1) {
      await server.command("client", "kill", "type", "pubsub");
      await sleep(400);
    }
  },
  "loses whoever is not a subscriber": async (server) => {
    for (let count = 0; count < 5; count += 1) {
      await server.command("client", "kill", "type", "normal");
      await sleep(150);
    }
  },
};

for (const [name, fault] of Object.entries(faults)) {
  test(`a Redis that ${name}: nothing outdated, no error, no long wait, and it is used again`, async () => {
    const { server, replicas, close } = await opened();
    const rows = new SlowRows(4);
    const during = sleep(200)
      .then(() => fault(server))
      // They are back a second after they have found their way.
      .then(() => sleep(2_000));
    const { stale, readMs } = await checkFreshness({
      clients: replicas.map((replica) => cacheClientOf(replica, rows)),
      // The other learns nothing from writes of its own.
      writingClients: 1,
      ...{ rows: 5, reads: 1_000, writes: 20, readers: 20, delayMs: LEASE_MS, during },
      restMs: () => Math.random() * 30,
    });
    expect(stale.slice(0, 5)).toEqual([]);
    // What waits for Redis gives it up within 50 ms; the rest is for the database and a machine that is busy.
    expect(readMs[Math.floor(readMs.length * 0.99)]).toBeLessThan(300);
    for (const replica of replicas) {
      await untilLive(replica);
      const ask = cacheRequest(`after ${name}`, async () => "");
      await expect.poll(async () => (await replica.cache.getOrLoad(ask)).state).toBe("memory");
    }
    for (let row = 0; row < 5; row += 1) {
      const seen = await Promise.all(replicas.map((replica) => cacheClientOf(replica, rows).read(row)));
      expect(seen).toEqual(Array(2).fill(Number(await rows.read(row))));
    }
    await close();
  });
}
