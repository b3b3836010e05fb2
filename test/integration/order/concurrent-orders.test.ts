import { randomUUID } from "node:crypto";
import { BlockList } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderService } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import { type Catalog, createCatalog, type SoldProduct } from "../../../src/catalog/catalog.ts";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { createInventory, type Inventory, type StockLine } from "../../../src/inventory/inventory.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { AppError } from "../../../src/kernel/errors.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { orderRpc } from "../../../src/order/order.rpc.ts";
import { createOrders } from "../../../src/order/order.ts";
import { getCall } from "../../../src/rpc/call/call-context.ts";
import { createServer } from "../../../src/rpc/server/server.ts";
import { createTracker } from "../../../src/tracker/tracker.ts";
import { failureOf } from "../../support/errors.ts";
import { breaches } from "../../support/invariants.ts";
import { silentLog } from "../../support/log.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";

const BUYERS = 200;
const UNITS = 50n;

let shop: TestShop;
beforeAll(async () => {
  // Other test files work at the same time: a connection may take longer to come by than on a shop of its own.
  shop = await startShop({ DB_POOL_WAIT_MS: "10000" });
});
afterAll(() => shop.close());

/** What became of a rush on one product: how many were told what, and what is left. */
async function rush(url: string, productId: string, httpVersion: "1.1" | "2") {
  const client = createClient(
    OrderService,
    httpVersion === "2"
      ? createGrpcTransport({ baseUrl: url })
      : createConnectTransport({ baseUrl: url, httpVersion: "1.1", useBinaryFormat: false }),
  );
  const outcomes = await Promise.all(
    Array.from({ length: BUYERS }, async () => {
      const call = client.createOrder({
        requestId: randomUUID(),
        order: { items: [{ productId, quantity: 1n }] },
      });
      return call.then(
        () => "sold",
        () => failureOf(call).then(({ code, reason }) => `${code} ${reason}`),
      );
    }),
  );
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return { counts, left: await stockOf(shop, productId), breaches: await breaches(shop.database.url) };
}

const exact = { counts: { sold: 50, "FailedPrecondition OUT_OF_STOCK": 150 }, left: 0n, breaches: [] };

test.each(["2", "1.1"] as const)(
  "200 buyers at once of 50 units over HTTP/%s: exactly 50 orders, 150 refusals, nothing else",
  async (httpVersion) => {
    const productId = await makeProduct(shop, { stock: UNITS });
    expect(await rush(shop.url, productId, httpVersion)).toEqual(exact);
  },
);

test("orders of the same products in opposite order never wait in a circle", async () => {
  const [a, b] = [await makeProduct(shop, { stock: 500n }), await makeProduct(shop, { stock: 500n })];
  const buy = (first: string, second: string) =>
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: { items: [first, second].map((productId) => ({ productId, quantity: 1n })) },
    });
  await Promise.all(Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? buy(a, b) : buy(b, a))));
  expect([await stockOf(shop, a), await stockOf(shop, b)]).toEqual([400n, 400n]);
});

/** Wraps the catalogue and the inventory so that they read, decide and write without a lock, as many shops do. */
function withoutLocks(catalog: Catalog, inventory: Inventory): { catalog: Catalog; inventory: Inventory } {
  const remaining = new WeakMap<readonly StockLine[], string[]>();
  return {
    catalog: {
      ...catalog,
      async lockForSale(tx, lines) {
        const products = new Map<string, SoldProduct>();
        const quantities: string[] = [];
        for (const { productId, quantity } of lines) {
          const [row] = await tx.query(sql<{
            sku: string;
            name: string;
            price_minor: string;
            stock_quantity: string;
          }>`
            select sku, name, price_minor, stock_quantity from product where id = ${productId}`);
          const stock = BigInt(row?.stock_quantity ?? 0);
          if (row === undefined || stock < quantity) {
            throw new AppError("failed_precondition", "sold out", { reason: "OUT_OF_STOCK" });
          }
          quantities.push((stock - quantity).toString());
          const price = { currencyCode: "EUR", minorUnits: BigInt(row.price_minor) };
          products.set(productId, { sku: row.sku, name: row.name, price });
        }
        remaining.set(lines, quantities);
        return products;
      },
    },
    inventory: {
      ...inventory,
      orderMovement(movement) {
        const ids = movement.lines.map((line) => line.productId);
        const stock = sql`
          update product set stock_quantity = line.rest, purchase_count = purchase_count + 1
          from unnest(${ids}::uuid[], ${remaining.get(movement.lines) ?? []}::bigint[]) as line (id, rest)
          where product.id = line.id`;
        return { ...inventory.orderMovement(movement), stock };
      },
    },
  };
}

test("the same rush on a naive read-modify-write sells what is not there", async () => {
  const productId = await makeProduct(shop, { stock: UNITS });
  const { server, db } = await serveNaively(shop.database.url);
  const { url } = await server.listen();
  try {
    const outcome = await rush(url, productId, "2");
    expect(outcome).not.toEqual(exact);
    expect(outcome.counts.sold).toBeGreaterThan(50);
    expect(outcome.breaches.map((breach) => breach.invariant)).toContain("I1");
  } finally {
    await server.close(1_000);
    await db.close();
  }
});

async function serveNaively(databaseUrl: string) {
  const pool = { poolMax: 20, poolWaitMs: 5_000, statementTimeoutMs: 5_000 };
  const db: Database = await openPostgres({ url: databaseUrl, entities, log: silentLog, ...pool });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const room = { db, tokens, clock: systemClock, ids: createIds() };
  const inventory = createInventory(room);
  const naive = withoutLocks(createCatalog({ ...room, inventory }), inventory);
  const orders = createOrders({
    ...room,
    ...naive,
    customers: createCustomers(room),
    tracker: createTracker(room),
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
