import { expect, test } from "vitest";
import { checkFault, waitUntilBypassed } from "../support/cache/faulty-traffic.ts";
import type { Traffic } from "../support/cache/freshness.ts";
import { openTwoReplicas, type Replica, waitUntilUsed } from "../support/cache/replica.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import type { RedisServer } from "../support/stores/redis-server.ts";

interface FaultContext {
  server: RedisServer;
  replicas: readonly Replica[];
  traffic: Traffic;
}

const isDisconnected = (replicas: readonly Replica[]) =>
  expect
    .poll(() => replicas.map(({ redis }) => redis.client.status), { timeout: 30_000, interval: 10 })
    .not.toContain("ready");

const faults: Record<string, (context: FaultContext) => Promise<void>> = {
  "is frozen for a few reads, again and again": async ({ server, traffic }) => {
    for (let count = 0; count < 8; count += 1) {
      server.freeze();
      await traffic.progress(5 * count);
      server.thaw();
      await traffic.progress(50);
    }
  },
  "is frozen until connections time out": async ({ server, replicas, traffic }) => {
    server.freeze();
    await isDisconnected(replicas);
    await traffic.progress(500, 20);
    server.thaw();
  },
  "is killed and restarted immediately": async ({ server }) => {
    await server.kill();
    await server.start();
  },
  "is killed and restarted after a while": async ({ server, replicas, traffic }) => {
    await server.kill();
    await Promise.all(replicas.map(waitUntilBypassed));
    // Meanwhile each replica has reached its longest delay between attempts to connect.
    await traffic.progress(2_000, 50);
    await server.start();
  },
  "is flushed": async ({ server, traffic }) => {
    for (let count = 0; count < 20; count += 1) {
      await server.command("flushall");
      await traffic.progress(50, 1);
    }
  },
  "is full": async ({ server, traffic }) => {
    await server.command("config", "set", "maxmemory", "1");
    await traffic.progress(1_000, 20);
    await server.command("config", "set", "maxmemory", "0");
  },
  "is paused": async ({ server, replicas, traffic }) => {
    await server.command("client", "pause", "2000", "ALL");
    await Promise.all(replicas.map(waitUntilBypassed));
    await traffic.progress(100);
    // The response arrives when the pause is over.
    await server.command("ping");
  },
  "rejects writes, as during a failover": async ({ server, replicas, traffic }) => {
    await server.command("client", "pause", "60000", "WRITE");
    await Promise.all(replicas.map(waitUntilBypassed));
    await traffic.progress(500, 10);
    await server.command("client", "unpause");
  },
  "closes the connections of subscribers": async ({ server, replicas, traffic }) => {
    for (let count = 0; count < 3; count += 1) {
      await server.command("client", "kill", "type", "pubsub");
      await traffic.progress(100, 2);
      await Promise.all(replicas.map(waitUntilUsed));
    }
  },
  "closes the connections of all others": async ({ server, traffic }) => {
    for (let count = 0; count < 5; count += 1) {
      await server.command("client", "kill", "type", "normal");
      await traffic.progress(100, 2);
    }
  },
};

test.each(Object.entries(faults))(
  "when Redis %s, no read is stale, fails or waits for it, and reads use it again afterwards",
  { timeout: 120_000 },
  async (_name, fault) => {
    const server = await startDedicatedRedis();
    const replicas = await openTwoReplicas([server.url, server.url]);
    await checkFault(replicas, (traffic) => fault({ server, replicas, traffic }));
  },
);
