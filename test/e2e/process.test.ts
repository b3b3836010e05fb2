import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { breaches } from "../support/invariants.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";

let dataDir: string;
let database: TestDatabase;
const running: ServiceProcess[] = [];
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-main-"));
  database = await createTestDatabase();
});
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill("SIGKILL");
    await exited;
  }
  await database.drop();
  await sleep(100);
  await rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

function start(env: Record<string, string> = {}): ServiceProcess {
  const service = startProcess({ PORT: "0", DATA_DIR: dataDir, ...env });
  running.push(service);
  return service;
}
const withStores = (env: Record<string, string> = {}) =>
  start({ DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), SEED_DEMO: "on", ...env });

test("SIGTERM under load: health says so, calls in flight finish, exit 0, nothing acknowledged is lost", async () => {
  const service = withStores();
  const url = await service.listening;
  const transport = createGrpcTransport({ baseUrl: url });
  const orders = createClient(OrderService, transport);
  const [product] = await database.query<{ id: string }>(
    "update product set stock_quantity = stock_quantity where id = (select id from product where active order by stock_quantity desc limit 1) returning id",
  );
  const acknowledged: string[] = [];
  let going = true;
  const buyers = Array.from({ length: 20 }, async () => {
    while (going) {
      try {
        const items = [{ productId: product?.id ?? "", quantity: 1n }];
        acknowledged.push(
          (await orders.createOrder({ requestId: randomUUID(), order: { items } })).order?.id ?? "",
        );
      } catch {
        await sleep(10);
      }
    }
  });
  const states: number[] = [];
  const watching = (async () => {
    for await (const { status } of createClient(Health, transport).watch({ service: "" }))
      states.push(status);
  })().catch(() => {});
  while (acknowledged.length < 50) await sleep(10);
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
  going = false;
  await Promise.all([...buyers, watching]);
  expect(acknowledged.length).toBeGreaterThanOrEqual(50);
  const rows = await database.query<{ id: string }>("select id from orders where id = any($1::uuid[])", [
    acknowledged,
  ]);
  expect(rows).toHaveLength(acknowledged.length);
  expect(await breaches(database.url)).toEqual([]);
  expect(states).toEqual([1, 2]);
});

test("a start on nothing: stores are started, a demo is there, and one line says where it listens", async () => {
  const service = start();
  const url = await service.listening;
  const response = await fetch(`${url}/cartwright.catalog.v1.CatalogService/ListProducts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"pageSize": 1, "total": "TOTAL_MODE_EXACT"}',
  });
  expect(await response.json()).toMatchObject({
    totalSize: 2_000,
    products: [{ stockQuantity: expect.any(String) }],
  });
  const said = service.lines.filter((line) => String(line.msg).includes("listening"));
  expect(said).toHaveLength(1);
  expect(said[0]).toMatchObject({
    address: url,
    started: expect.arrayContaining([expect.stringContaining("PostgreSQL 18")]),
    warnings: [expect.stringContaining("ACCESS IS OFF"), expect.stringContaining("LIMITS ARE OFF")],
  });
  const accounts = service.lines.filter(({ password }) => password !== undefined);
  expect(accounts).toMatchObject([{ emails: expect.arrayContaining(["admin@example.com"]) }]);
  const signIn = await fetch(`${url}/cartwright.identity.v1.IdentityService/SignIn`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "admin@example.com", password: accounts[0]?.password }),
  });
  expect(signIn.status).toBe(200);
  const second = start();
  expect(await second.exited).toBe(1);
  expect(second.stderr()).toContain(`in use by process ${service.child.pid}`);
  expect(second.stderr()).not.toContain("at ");
  service.child.kill("SIGINT");
  expect(await service.exited).toBe(0);
  expect(service.stderr()).toBe("");
});

test("mistakes in the configuration are all named at once, without a stack, with exit code 1", async () => {
  const service = start({ PORT: "eighty", LOG_LEVEL: "loud" });
  expect(await service.exited).toBe(1);
  expect(service.stderr()).toMatch(/PORT/);
  expect(service.stderr()).toMatch(/LOG_LEVEL/);
  expect(service.stderr()).not.toMatch(/\n\s+at /);
});

test("a database or an address that cannot be had is said in a sentence", async () => {
  const nobody = withStores({ DATABASE_URL: "postgres://somebody:s3cret@127.0.0.1:1/shop" });
  expect(await nobody.exited).toBe(1);
  expect(nobody.stderr()).toMatch(/DATABASE_URL/);
  expect(nobody.stderr()).not.toMatch(/s3cret|\n\s+at /);
  const first = withStores();
  const { port } = new URL(await first.listening);
  const second = withStores({ PORT: port });
  expect(await second.exited).toBe(1);
  expect(second.stderr()).toMatch(/^Cannot listen on 127\.0\.0\.1:\d+: .*PORT.*\n$/);
  expect(second.lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
});

test("an embedded PostgreSQL that dies ends the process, which says so, and a next start works", async () => {
  const service = start();
  const url = await service.listening;
  const pidFile = await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8");
  process.kill(Number.parseInt(pidFile, 10), "SIGKILL");
  const diedAtMs = performance.now();
  expect(await service.exited).toBe(1);
  expect(performance.now() - diedAtMs).toBeLessThan(5_000);
  const errors = service.lines.filter(({ level }) => level === "error");
  expect(errors).toEqual([
    expect.objectContaining({
      msg: expect.stringMatching(/PostgreSQL has ended.* Start it again/),
      reason: expect.stringMatching(/ended by itself .*postgres\.log/),
    }),
  ]);
  expect(service.stderr()).toBe("");
  await expect(fetch(url)).rejects.toThrow();
  const next = start();
  expect((await fetch(`${await next.listening}/readyz`)).status).toBe(200);
  next.child.kill("SIGTERM");
  expect(await next.exited).toBe(0);
}, 30_000);

test("an embedded Redis that dies is warned of, and the shop goes on", async () => {
  const service = start({ DATABASE_URL: database.url, SEED_DEMO: "off" });
  const url = await service.listening;
  const redis = new Redis((await readFile(join(dataDir, "redis.url"), "utf8")).trim(), {
    retryStrategy: () => null,
  });
  await redis.call("SHUTDOWN", "NOSAVE").catch(() => {});
  const warnings = () => service.lines.filter(({ level }) => level === "warn").map(({ msg }) => String(msg));
  await expect.poll(warnings, { timeout: 5_000 }).toContainEqual(expect.stringContaining("Redis has ended"));
  await sleep(1_100);
  const ready = await fetch(`${url}/readyz`);
  expect(await ready.json()).toMatchObject({ ready: true, checks: { redis: "down" } });
  expect(service.lines.filter(({ level }) => level === "error")).toEqual([]);
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
});
