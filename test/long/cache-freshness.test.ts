import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { checkFreshness, type FreshnessOptions, type Traffic } from "../support/cache/freshness.ts";
import { openPriceClient, type PriceClient } from "../support/cache/price-client.ts";
import { writeLongResults } from "../support/long/long-results.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { createTestDatabase } from "../support/stores/database.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import { findViolations } from "../support/stores/invariants.ts";
import type { RedisServer } from "../support/stores/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../support/stores/tcp-proxy.ts";

const ROWS = 8;
/** No process listens on it. */
const CLOSED_PORT = "1";
/** Versions of a phase start above those of the one before. */
const VERSIONS_PER_PHASE = 100_000;

/** A replica of the service. The proxy is before its Redis. */
interface ShopReplica {
  service: ServiceProcess;
  proxy: TcpProxy;
  client: PriceClient;
  isAvailable: boolean;
  isKilled: boolean;
}

/** The replicas, their database, and two Redis servers, of which one replicates the other. */
interface Shop {
  replicas: ShopReplica[];
  master: RedisServer;
  standby: RedisServer;
  databaseUrl: string;
  start(): Promise<void>;
}

async function startRedis(): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-redis-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const server = await startDedicatedRedis(folder);
  // Otherwise a master waits 5 s for more replicas.
  await server.command("config", "set", "repl-diskless-sync-delay", "0");
  return server;
}

async function replicate(standby: RedisServer, master: RedisServer): Promise<void> {
  await standby.command("replicaof", "127.0.0.1", String(master.port));
  await expect.poll(() => standby.command("info", "replication")).toContain("master_link_status:up");
}

async function openShop(): Promise<Shop> {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const [master, standby] = await Promise.all([startRedis(), startRedis()]);
  await replicate(standby, master);
  const env = { PORT: "0", DATABASE_URL: database.url, SEED_DEMO: "off", DB_POOL_WAIT_MS: "30000" };
  let ids: string[] | undefined;
  const shop: Shop = {
    replicas: [],
    master,
    standby,
    databaseUrl: database.url,
    async start() {
      const proxy = await startTcpProxy(shop.master.port);
      onTestFinished(() => proxy.close());
      const service = startProcess({ ...env, REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
      onTestFinished(async () => {
        service.child.kill("SIGKILL");
        await service.exited;
      });
      const url = await service.listening;
      ids ??= await createProducts(url);
      const client = openPriceClient(url, ids);
      onTestFinished(() => client.close());
      shop.replicas.push({ service, proxy, client, isAvailable: true, isKilled: false });
    },
  };
  return shop;
}

async function createProducts(url: string): Promise<string[]> {
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  const { category } = await catalog.createCategory({ category: { slug: "c", name: "C" } });
  const created = Array.from({ length: ROWS }, (_, row) =>
    catalog.createProduct({
      product: {
        sku: `SKU-${row}`,
        name: `Product ${row}`,
        categoryId: category?.id ?? "",
        price: { currencyCode: "EUR", minorUnits: 0n },
      },
    }),
  );
  return (await Promise.all(created)).map(({ product }) => product?.id ?? "");
}

/** Lets the replicas use the standby, and the former master replicate it. */
async function switchRoles(shop: Shop): Promise<void> {
  [shop.master, shop.standby] = [shop.standby, shop.master];
  for (const { proxy } of shop.replicas) {
    await proxy.cut();
    proxy.redirect(shop.master.port);
    await proxy.restore();
  }
}

interface Phase {
  name: string;
  reads: number;
  writes: number;
  during?: (shop: Shop, traffic: Traffic) => Promise<void>;
}

const phases: readonly Phase[] = [
  { name: "three replicas", reads: 30_000, writes: 1_500 },
  {
    name: "one replica is stopped and continued, 10 times",
    reads: 15_000,
    writes: 1_000,
    async during({ replicas }, { progress }) {
      for (let count = 0; count < 10; count += 1) {
        const replica = replicas[count % replicas.length];
        if (replica === undefined) return;
        replica.isAvailable = false;
        replica.service.child.kill("SIGSTOP");
        await progress(400, count % 2 === 0 ? 2 : 30);
        replica.service.child.kill("SIGCONT");
        replica.isAvailable = true;
        await progress(400, 20);
      }
    },
  },
  {
    name: "Redis closes all connections, those of commands or those of subscriptions, 12 times",
    reads: 10_000,
    writes: 500,
    async during({ master }, { progress }) {
      for (let count = 0; count < 12; count += 1) {
        if (count % 3 !== 1) await master.command("client", "kill", "type", "pubsub");
        if (count % 3 !== 0) await master.command("client", "kill", "type", "normal");
        await progress(500, 20);
      }
    },
  },
  {
    name: "one replica loses its connections to Redis, 9 times",
    reads: 10_000,
    writes: 500,
    async during({ replicas }, { progress }) {
      for (let count = 0; count < 9; count += 1) {
        const proxy = replicas[count % replicas.length]?.proxy;
        await proxy?.cut();
        await proxy?.restore();
        await progress(500, 20);
      }
    },
  },
  {
    name: "Redis fails over in order, 3 times",
    reads: 10_000,
    writes: 500,
    async during(shop, { progress }) {
      for (let count = 0; count < 3; count += 1) {
        await shop.master.command("failover");
        await progress(300, 10);
        await switchRoles(shop);
        await expect
          .poll(() => shop.standby.command("info", "replication"))
          .toContain("master_link_status:up");
        await progress(2_000, 50);
      }
    },
  },
  {
    name: "the Redis master is killed and its replica promoted, 3 times",
    reads: 10_000,
    writes: 500,
    async during(shop, { progress }) {
      for (let count = 0; count < 3; count += 1) {
        await shop.master.kill();
        await shop.standby.command("replicaof", "no", "one");
        await switchRoles(shop);
        await shop.standby.start();
        await replicate(shop.standby, shop.master);
        await progress(2_000, 50);
      }
    },
  },
  {
    name: "Redis is read-only",
    reads: 5_000,
    writes: 500,
    async during({ master }, { progress }) {
      await master.command("replicaof", "127.0.0.1", CLOSED_PORT);
      await progress(4_000, 400);
      await master.command("replicaof", "no", "one");
      await progress(500, 50);
    },
  },
  {
    name: "one replica is killed",
    reads: 10_000,
    writes: 500,
    async during({ replicas }, { progress }) {
      await progress(1_000, 50);
      const last = replicas.at(-1);
      if (last === undefined) return;
      last.isAvailable = false;
      last.isKilled = true;
      last.service.child.kill("SIGKILL");
      await progress(5_000, 200);
    },
  },
];

/** Runs a phase and returns its row of the table. */
async function runPhase(shop: Shop, { name, reads, writes, during }: Phase, index: number) {
  const durationsMs: number[] = [];
  const [first] = shop.replicas;
  const clients = shop.replicas.map((replica) => ({
    // A call to a replica that was killed has no result, and a write is repeated through another one.
    read: (row: number) => replica.client.read(row).catch((error) => ignoreIfKilled(replica, error)),
    async write(row: number, version: number) {
      const startMs = performance.now();
      await replica.client.write(row, version).catch(async (error) => {
        ignoreIfKilled(replica, error);
        await first?.client.write(row, version);
      });
      durationsMs.push(performance.now() - startMs);
    },
  }));
  const options: FreshnessOptions = {
    clients,
    rows: ROWS,
    reads,
    writes,
    concurrency: 16,
    pauseMs: () => Math.random() * 40,
    firstVersion: 1 + index * VERSIONS_PER_PHASE,
    isAvailable: (client) => shop.replicas[client]?.isAvailable === true,
  };
  if (during !== undefined) options.during = (traffic) => during(shop, traffic);
  const result = await checkFreshness(options);
  durationsMs.sort((one, other) => one - other);
  const quantile = (share: number) =>
    (durationsMs[Math.floor(share * (durationsMs.length - 1))] ?? Number.NaN).toFixed(1);
  const row = [
    name,
    result.reads,
    result.stale.length,
    result.writes,
    quantile(0.5),
    quantile(0.99),
    quantile(1),
  ];
  return { ...result, row: row.map((cell) => (typeof cell === "number" ? cell.toLocaleString("en") : cell)) };
}

function ignoreIfKilled({ isKilled }: ShopReplica, error: unknown): number {
  if (!isKilled) throw error;
  return Number.POSITIVE_INFINITY;
}

test("none of 100,000 reads through two and three replicas is older than the last acknowledged write, while replicas and Redis fail", async () => {
  const shop = await openShop();
  await shop.start();
  await shop.start();
  const results = [await runPhase(shop, { name: "two replicas", reads: 30_000, writes: 1_500 }, 0)];
  await shop.start();
  for (const [index, phase] of phases.entries()) results.push(await runPhase(shop, phase, index + 1));
  writeLongResults(
    "Reads after an acknowledged write",
    ["phase", "reads", "stale", "writes", "write p50, ms", "p99", "longest"],
    results.map(({ row }) => row),
  );
  expect(results.flatMap(({ stale }) => stale).slice(0, 5)).toEqual([]);
  expect(results.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThanOrEqual(100_000);
  expect(await findViolations(shop.databaseUrl)).toEqual([]);
});
