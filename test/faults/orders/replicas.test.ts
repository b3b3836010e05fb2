import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { describeFailure, type OrderLoad, startOrderLoad } from "../../support/orders/order-load.ts";
import { clientsAt, type ServiceReplica, startReplica } from "../../support/orders/service-replicas.ts";
import type { Clients } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import type { CommitMoment } from "../../support/stores/commit-proxy.ts";
import { createTestDatabase, type TestDatabase } from "../../support/stores/database.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { type RedisServer, startRedisServer } from "../../support/stores/redis-server.ts";

// Hundreds of calls to processes of their own take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

const BUYERS = 16;
const PRODUCTS = 5;
const STOCK = 100_000n;
const MOMENTS: readonly CommitMoment[] = ["before", "during", "after"];

let database: TestDatabase;
let redis: RedisServer;
let first: ServiceReplica;
let second: ServiceReplica;
let clients: Clients;
let productIds: string[];
beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedisServer()]);
  const env = { REDIS_URL: redis.url };
  [first, second] = await Promise.all([startReplica(database.url, env), startReplica(database.url, env)]);
  clients = await second.clients();
});
beforeEach(async () => {
  productIds = await Promise.all(
    Array.from({ length: PRODUCTS }, () => makeProduct(clients, { stock: STOCK })),
  );
});
afterAll(async () => {
  await Promise.all([first.close(), second.close()]);
  await redis.stop();
  await database.drop();
});

/** Starts buyers at both replicas. They order at the other one while one is down. */
function startLoad(): OrderLoad {
  return startOrderLoad({
    buyers: BUYERS,
    productIds,
    clients: (buyer) => clientsAt([first, second], buyer % 2),
  });
}

test("orders whose COMMIT has no response are stored once, and a repeat returns them", async () => {
  const load = startLoad();
  for (let count = 0; count < 18; count += 1) {
    const { proxy } = count % 2 === 0 ? first : second;
    const before = proxy.interruptions();
    proxy.interrupt({ moment: MOMENTS[count % MOMENTS.length] ?? "after", statement: /\border_item\b/ });
    await expect.poll(() => proxy.interruptions(), { interval: 5 }).toBe(before + 1);
  }
  await load.progress(BUYERS);
  await load.stop();
  expect([...load.failures].filter((failure) => failure !== "Unavailable DATABASE_AWAY")).toEqual([]);
  await load.expectStored(database, clients);
});

test("orders of a replica that is killed are completed at the other one", async () => {
  const load = startLoad();
  await load.progress(25);
  first.kill();
  await load.progress(50);
  await load.stop();
  expect([...load.failures].filter((failure) => failure !== "connection failed")).toEqual([]);
  await load.expectStored(database, clients);
  // Repeats also return the orders at the replica that has started since.
  await load.expectStored(database, await first.clients());
});

test("a replica that gets SIGTERM completes its orders and exits with 0, and repeats at the other one return them", async () => {
  const load = startLoad();
  await load.progress(25);
  const { service } = first;
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
  await load.progress(25);
  await load.stop();
  await load.expectStored(database, clients);
  await first.clients();
});

test("while Redis is killed and started again, no order fails", async () => {
  const load = startLoad();
  await load.progress(25);
  await redis.kill();
  await load.progress(50);
  await redis.start();
  await load.progress(50);
  await load.stop();
  expect([...load.failures]).toEqual([]);
  await load.expectStored(database, clients);
  const productId = productIds[0] ?? "";
  const [row] = await database.query<{ stock: string }>(
    "select on_hand - reserved as stock from inventory where product_id = $1",
    [productId],
  );
  // The cache is in use again, and not older than the orders.
  await expect.poll(() => stockOf(clients, productId)).toBe(BigInt(row?.stock ?? -1));
});

test("two replicas sell exactly the 100 units of a product that 400 buyers order at the same time", async () => {
  const productId = await makeProduct(clients, { stock: 100n });
  const replicas = await Promise.all([first.clients(), second.clients()]);
  const outcomes = await Promise.all(
    Array.from({ length: 400 }, (_, buyer) =>
      (replicas[buyer % 2] ?? clients).orders
        .createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } })
        .then(() => "ordered", describeFailure),
    ),
  );
  const counts = Map.groupBy(outcomes, (outcome) => outcome);
  expect(Object.fromEntries([...counts].map(([outcome, { length }]) => [outcome, length]))).toEqual({
    ordered: 100,
    "FailedPrecondition OUT_OF_STOCK": 300,
  });
  expect(await findViolations(database.url)).toEqual([]);
});
