import { randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { entities } from "../../src/entities.ts";
import { type Jobs, openJobs } from "../../src/infra/jobs/jobs.ts";
import { invalidationQueue } from "../../src/infra/jobs/queues.ts";
import { type Database, openPostgres } from "../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../src/kernel/call.ts";
import { createIds } from "../../src/kernel/ids.ts";
import {
  installCompletionLock,
  lockCompletions,
  waitForCompletion,
} from "../support/jobs/completion-lock.ts";
import { silentLog } from "../support/log.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { clientsOf } from "../support/shop.ts";
import { makeProduct } from "../support/shop-fixtures.ts";
import { createTestDatabase, type TestDatabase } from "../support/stores/database.ts";
import { findViolations } from "../support/stores/invariants.ts";

const PATIENT = { timeout: 60_000 };

let database: TestDatabase;
let db: Database;
let jobs: Jobs;
const running: ServiceProcess[] = [];
beforeEach(async () => {
  database = await createTestDatabase();
  const limits = { poolMax: 2, poolWaitMs: 10_000, statementTimeoutMs: 10_000 };
  db = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  jobs = await openJobs({ url: database.url, workers: 0, ids: createIds(), log: silentLog });
});
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill("SIGKILL");
    await exited;
  }
  await jobs.close();
  await db.close();
  await database.drop();
});

function start(program: "main.ts" | "worker-main.ts", env: Record<string, string> = {}): ServiceProcess {
  const stores = { DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), SEED_DEMO: "off", PORT: "0" };
  const process = startProcess({ ...stores, ...env }, program);
  running.push(process);
  return process;
}

const enqueueInvalidation = () =>
  db.transact(internalCall(), (tx) =>
    jobs.enqueue(tx, invalidationQueue, { tags: ["product:1"], generation: "AAAA" }),
  );
const jobStates = async () =>
  (await database.query<{ state: string }>("select state from pgboss.job order by id")).map(
    ({ state }) => state,
  );

test("a worker runs the jobs and consumers of servers without workers", async () => {
  const server = start("main.ts", { WORKERS: "0" });
  const shop = clientsOf(createGrpcTransport({ baseUrl: await server.listening }));
  const productId = await makeProduct(shop, { stock: 10n });
  await shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 3n }] } });
  await enqueueInvalidation();
  const purchaseCount = async () =>
    (await shop.catalog.getProduct({ key: { case: "id", value: productId } })).product?.purchaseCount;
  expect(await purchaseCount()).toBe(0n);
  expect(await jobStates()).toEqual(["created"]);

  const worker = start("worker-main.ts", { WORKERS: "1" });
  const url = await worker.listening;
  await expect.poll(jobStates, PATIENT).toEqual([]);
  await expect.poll(purchaseCount, PATIENT).toBe(3n);
  expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({
    checks: { postgres: "up", redis: "up" },
  });
  expect(await createClient(Health, createGrpcTransport({ baseUrl: url })).check({})).toMatchObject({
    status: 1,
  });
  const call = await fetch(`${url}/cartwright.catalog.v1.CatalogService/GetCatalogStats`);
  expect(call.status).toBe(404);
  expect(await findViolations(database.url)).toEqual([]);
  worker.child.kill("SIGTERM");
  expect(await worker.exited).toBe(0);
  expect(worker.stderr()).toBe("");
});

test("SIGTERM lets a worker finish its job and take no other", async () => {
  await installCompletionLock(database);
  const unlock = await lockCompletions(database);
  const worker = start("worker-main.ts", { WORKERS: "1" });
  const url = await worker.listening;
  await enqueueInvalidation();
  await waitForCompletion(database);
  worker.child.kill("SIGTERM");
  const status = async (path: string) => (await fetch(`${url}${path}`)).status;
  await expect.poll(() => status("/readyz"), PATIENT).toBe(503);
  expect(await status("/livez")).toBe(200);
  await enqueueInvalidation();
  expect(worker.child.exitCode).toBeNull();
  expect(await jobStates()).toEqual(["active", "created"]);
  await unlock();
  expect(await worker.exited).toBe(0);
  expect(await jobStates()).toEqual(["created"]);
});

test("another worker takes the job of a worker that was killed", async () => {
  await installCompletionLock(database);
  const unlock = await lockCompletions(database);
  const [first, second] = [
    start("worker-main.ts", { WORKERS: "1" }),
    start("worker-main.ts", { WORKERS: "1" }),
  ];
  await Promise.all([first.listening, second.listening]);
  second.child.kill("SIGSTOP");
  await enqueueInvalidation();
  const pid = await waitForCompletion(database);
  first.child.kill("SIGKILL");
  await first.exited;
  await database.query("select pg_terminate_backend($1)", [pid]);
  expect(await jobStates()).toEqual(["active"]);
  await unlock();
  second.child.kill("SIGCONT");
  await expect.poll(jobStates, PATIENT).toEqual([]);
  expect(second.child.exitCode).toBeNull();
});

test.each([
  [{ WORKERS: "0" }, /^WORKERS: /],
  [{ DATABASE_URL: "" }, /^DATABASE_URL, REDIS_URL: /],
])("a worker with %j exits with 1 and one sentence", async (env, message) => {
  const worker = start("worker-main.ts", env);
  expect(await worker.exited).toBe(1);
  expect(worker.stderr()).toMatch(message);
  expect(worker.stderr()).not.toMatch(/\n\s+at /);
});
