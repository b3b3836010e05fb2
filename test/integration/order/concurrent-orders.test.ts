import { randomUUID } from "node:crypto";
import { BlockList } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderService } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import { createCatalog } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { type Database, openPostgres, type Tx } from "../../../src/infra/postgres/postgres.ts";
import { createInventory, type Inventory, type StockLevel } from "../../../src/inventory/inventory.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { orderRpc } from "../../../src/order/order.rpc.ts";
import { createOrders } from "../../../src/order/order.ts";
import { getCall } from "../../../src/rpc/call/call-context.ts";
import { createServer } from "../../../src/rpc/server/server.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { failureOf } from "../../support/errors.ts";
import { silentLog } from "../../support/log.ts";
import { placementOptions } from "../../support/orders/placement-options.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const BUYERS = 200;
/** The longest deadline of CreateOrder, in milliseconds. */
const DEADLINE_MS = 30_000;
const UNITS = 50n;
/** Fewer than the transactions that a pool of 20 connections runs concurrently. */
const CONCURRENT_READS = 10;

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

/** Orders one unit for each buyer concurrently. Returns the number of each outcome, and the remaining units. */
async function orderConcurrently(url: string, productId: string, httpVersion: "1.1" | "2") {
  const client = createClient(
    OrderService,
    httpVersion === "2"
      ? createGrpcTransport({ baseUrl: url })
      : createConnectTransport({ baseUrl: url, httpVersion: "1.1", useBinaryFormat: false }),
  );
  const outcomes = await Promise.all(
    Array.from({ length: BUYERS }, async () => {
      const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
      const call = client.createOrder(request, { timeoutMs: DEADLINE_MS });
      return call.then(
        () => "sold",
        () => failureOf(call).then(({ code, reason }) => `${code} ${reason}`),
      );
    }),
  );
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return {
    counts,
    left: await stockOf(shop, productId),
    violations: await findViolations(shop.database.url),
  };
}

const exact = { counts: { sold: 50, "FailedPrecondition OUT_OF_STOCK": 150 }, left: 0n, violations: [] };

test.each(["2", "1.1"] as const)(
  "of 200 concurrent orders for 50 units over HTTP/%s, exactly 50 succeed and 150 are out of stock",
  async (httpVersion) => {
    const productId = await makeProduct(shop, { stock: UNITS });
    expect(await orderConcurrently(shop.url, productId, httpVersion)).toEqual(exact);
  },
);

test("concurrent orders of the same products in opposite order do not deadlock", async () => {
  const [a, b] = [await makeProduct(shop, { stock: 500n }), await makeProduct(shop, { stock: 500n })];
  const buy = (first: string, second: string) =>
    shop.orders.createOrder(
      {
        requestId: randomUUID(),
        order: { items: [first, second].map((productId) => ({ productId, quantity: 1n })) },
      },
      { timeoutMs: DEADLINE_MS },
    );
  await Promise.all(Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? buy(a, b) : buy(b, a))));
  expect([await stockOf(shop, a), await stockOf(shop, b)]).toEqual([400n, 400n]);
});

/**
 * Wraps the inventory so that orders read, decide and write without a lock. The first transactions wait until all of
 * them have read the stock.
 */
function withoutLocks(inventory: Inventory): Inventory {
  let reads = 0;
  const allHaveRead = Promise.withResolvers<void>();
  const levelsOf = new WeakMap<Tx, ReadonlyMap<string, StockLevel>>();
  return {
    ...inventory,
    async lock(tx, productIds) {
      const levels = await inventory.read(tx, productIds);
      reads += 1;
      if (reads === CONCURRENT_READS) allHaveRead.resolve();
      await allHaveRead.promise;
      levelsOf.set(tx, levels);
      return levels;
    },
    async moveForOrders(tx, reason, lines, levels, now) {
      const transitions = await inventory.moveForOrders(tx, reason, lines, levels, now);
      for (const { productId, quantity } of lines) {
        const reserved = (levelsOf.get(tx)?.get(productId)?.reserved ?? 0n) + quantity;
        await tx.query(sql`update inventory set reserved = ${reserved} where product_id = ${productId}`);
      }
      return transitions;
    },
  };
}

test("the same orders without locks sell more units than there are", async () => {
  const productId = await makeProduct(shop, { stock: UNITS });
  const { server, db } = await serveWithoutLocks(shop.database.url);
  const { url } = await server.listen();
  try {
    const outcome = await orderConcurrently(url, productId, "2");
    expect(outcome).not.toEqual(exact);
    expect(outcome.counts.sold).toBeGreaterThan(50);
    expect(outcome.violations.map(({ invariant }) => invariant)).toContain("I1");
  } finally {
    await server.close(1_000);
    await db.close();
  }
});

async function serveWithoutLocks(databaseUrl: string) {
  const pool = { poolMax: 20, poolWaitMs: 60_000, statementTimeoutMs: 30_000 };
  const db: Database = await openPostgres({ url: databaseUrl, entities, log: silentLog, ...pool });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const shared = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = withoutLocks(createInventory(shared));
  const orders = createOrders({
    ...placementOptions,
    ...shared,
    stockStrategy: "pessimistic",
    inventory,
    catalog: createCatalog({ ...shared, inventory }),
    customers: createCustomers(shared),
    tracker: createTracker(shared),
  });
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    corsOrigins: [],
    trustedProxies: new BlockList(),
    services: [OrderService],
    routes: (router) => router.service(OrderService, orderRpc(orders, getCall)),
    authenticate: undefined,
    rateLimiter: undefined,
    cache: undefined,
    encodedBytes: 1,
    isReady: async () => ({ ready: true, checks: {} }),
    log: silentLog,
  });
  return { server, db };
}
