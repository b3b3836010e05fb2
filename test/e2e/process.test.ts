import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, inject, onTestFinished, test } from "vitest";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { createTestDatabase, type TestDatabase } from "../support/stores/database.ts";
import { findViolations } from "../support/stores/invariants.ts";

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
  await rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

function start(env: Record<string, string> = {}): ServiceProcess {
  const service = startProcess({ PORT: "0", DATA_DIR: dataDir, ...env });
  running.push(service);
  return service;
}
const withStores = (env: Record<string, string> = {}) =>
  start({ DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), SEED_DEMO: "on", ...env });

test("SIGTERM under load turns health to NOT_SERVING, finishes calls in flight, exits with 0 and loses no acknowledged order", async () => {
  const service = withStores();
  const url = await service.listening;
  const transport = createGrpcTransport({ baseUrl: url });
  const orders = createClient(OrderService, transport);
  const [product] = await database.query<{ id: string }>(
    "select id from product join inventory on product_id = id where active order by on_hand - reserved desc limit 1",
  );
  const acknowledged: string[] = [];
  let isRunning = true;
  const buyers = Array.from({ length: 20 }, async () => {
    while (isRunning) {
      try {
        const items = [{ productId: product?.id ?? "", quantity: 1n }];
        acknowledged.push(
          (await orders.createOrder({ requestId: randomUUID(), order: { items } })).order?.id ?? "",
        );
      } catch {
        // The service is shutting down, and the loop ends with the test.
        await setImmediate();
      }
    }
  });
  const states: number[] = [];
  const watching = (async () => {
    for await (const { status } of createClient(Health, transport).watch({ service: "" }))
      states.push(status);
  })().catch(() => {});
  await expect.poll(() => acknowledged.length).toBeGreaterThanOrEqual(50);
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
  isRunning = false;
  await Promise.all([...buyers, watching]);
  const rows = await database.query<{ id: string }>("select id from orders where id = any($1::uuid[])", [
    acknowledged,
  ]);
  expect(rows).toHaveLength(acknowledged.length);
  expect(await findViolations(database.url)).toEqual([]);
  expect(states).toEqual([1, 2]);
});

test("a first start without configuration starts the stores, adds the demo data and logs one line with the address", async () => {
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
  const announcements = service.lines.filter((line) => /\blistening on\b/.test(String(line.msg)));
  expect(announcements).toHaveLength(1);
  expect(announcements[0]).toMatchObject({
    address: url,
    started: expect.arrayContaining([expect.stringContaining("PostgreSQL 18")]),
    warnings: [
      expect.stringContaining("ACCESS IS OFF"),
      expect.stringContaining("LIMITS ARE OFF"),
      expect.stringContaining("PAYMENTS ARE IN THE SANDBOX"),
    ],
  });
  const second = start();
  expect(await second.exited).toBe(1);
  expect(second.stderr()).toContain(`in use by process ${service.child.pid}`);
  expect(second.stderr()).not.toContain("at ");
  service.child.kill("SIGINT");
  expect(await service.exited).toBe(0);
  expect(service.stderr()).toBe("");
});

test("an invalid configuration exits with 1 and names every mistake, without a stack", async () => {
  const service = start({ PORT: "eighty", LOG_LEVEL: "loud" });
  expect(await service.exited).toBe(1);
  expect(service.stderr()).toMatch(/PORT/);
  expect(service.stderr()).toMatch(/LOG_LEVEL/);
  expect(service.stderr()).not.toMatch(/\n\s+at /);
});

test("an unreachable database or a port in use exits with 1 and one sentence", async () => {
  const unreachable = withStores({ DATABASE_URL: "postgres://app:s3cret@127.0.0.1:1/shop" });
  expect(await unreachable.exited).toBe(1);
  expect(unreachable.stderr()).toMatch(/DATABASE_URL/);
  expect(unreachable.stderr()).not.toMatch(/s3cret|\n\s+at /);
  const first = withStores();
  const { port } = new URL(await first.listening);
  const second = withStores({ PORT: port });
  expect(await second.exited).toBe(1);
  expect(second.stderr()).toMatch(/^Cannot listen on 127\.0\.0\.1:\d+: .*PORT.*\n$/);
  expect(second.lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
});

test.each<[string, (port: number) => Record<string, string>, RegExp]>([
  [
    "a port in use",
    (port) => ({ PORT: String(port) }),
    /the port is in use\..* set PORT to another port\.\n$/,
  ],
  ["a HOST of another machine", () => ({ HOST: "192.0.2.1" }), /not an address of this machine\. Set HOST /],
  [
    "a missing certificate",
    () => ({ TLS_CERT_FILE: "/missing.pem", TLS_KEY_FILE: "/missing.pem" }),
    /^TLS_CERT_FILE: .*missing\.pem/,
  ],
])("%s is noticed before PostgreSQL is started", async (_name, envOf, message) => {
  const holder = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void holder.close());
  await once(holder, "listening");
  const address = holder.address();
  const service = start(envOf(typeof address === "object" ? (address?.port ?? 0) : 0));
  expect(await service.exited).toBe(1);
  expect(service.stderr()).toMatch(message);
  expect(service.stderr()).not.toMatch(/\n\s+at /);
  expect(service.lines).toEqual([]);
  expect(await readdir(dataDir)).toEqual([]);
});

test("requests get 503 while the service starts, and no connection is rejected", async () => {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  probe.close();
  const service = start({ PORT: String(port) });
  const outcomes: string[] = [];
  const call = async () => {
    const outcome = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ status }) => String(status),
      () => "rejected",
    );
    if (outcomes.at(-1) !== outcome) outcomes.push(outcome);
    return outcome;
  };
  await expect.poll(call, { interval: 20 }).toBe("200");
  // Nothing listens until the process runs.
  if (outcomes[0] === "rejected") outcomes.shift();
  expect(outcomes).toEqual(["503", "200"]);
  expect(await service.listening).toBe(`http://127.0.0.1:${port}`);
});

test("the process exits with 1 when its embedded PostgreSQL dies, and the next start works", async () => {
  const service = start();
  const url = await service.listening;
  const pidFile = await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8");
  process.kill(Number.parseInt(pidFile, 10), "SIGKILL");
  expect(await service.exited).toBe(1);
  const errors = service.lines.filter(({ level }) => level === "error");
  expect(errors).toEqual([
    expect.objectContaining({
      msg: "Embedded PostgreSQL ended; stopping this process",
      reason: expect.stringMatching(/ended unexpectedly .*postgres\.log/),
    }),
  ]);
  expect(service.stderr()).toBe("");
  await expect(fetch(url)).rejects.toThrow();
  const next = start();
  expect((await fetch(`${await next.listening}/readyz`)).status).toBe(200);
  next.child.kill("SIGTERM");
  expect(await next.exited).toBe(0);
});

test("the service keeps serving when its embedded Redis dies, and logs a warning", async () => {
  const service = start({ DATABASE_URL: database.url, SEED_DEMO: "off" });
  const url = await service.listening;
  const redis = new Redis((await readFile(join(dataDir, "redis.url"), "utf8")).trim(), {
    retryStrategy: () => null,
  });
  await redis.call("SHUTDOWN", "NOSAVE").catch(() => {});
  const warnings = () => service.lines.filter(({ level }) => level === "warn").map(({ msg }) => String(msg));
  await expect.poll(warnings).toContainEqual("Embedded Redis ended; continuing without it");
  const readiness = async () => (await fetch(`${url}/readyz`)).json();
  await expect.poll(readiness).toMatchObject({ ready: true, checks: { redis: "down" } });
  expect(service.lines.filter(({ level }) => level === "error")).toEqual([]);
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
});
