import { afterAll, afterEach, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { OrderState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import {
  EXPIRED_HISTORY,
  type ExpiryWorker,
  endLeases,
  eventTypes,
  openExpiryWorker,
  placeOrder,
  setExpiry,
} from "../../support/orders/expiry-worker.ts";
import { startProcess } from "../../support/service-process.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import {
  type CommitMoment,
  type CommitProxy,
  proxiedUrl,
  startCommitProxy,
} from "../../support/stores/commit-proxy.ts";
import { terminateConnections } from "../../support/stores/database-activity.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const ORDERS = 3;

let shop: TestShop;
let proxy: CommitProxy;
let productId: string;
let ids: string[];
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  proxy = await startCommitProxy(Number(new URL(shop.database.url).port));
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await proxy.close();
  await shop.close();
});

async function placeDueOrders(): Promise<void> {
  productId = await makeProduct(shop, { stock: BigInt(ORDERS) });
  const orders = await Promise.all(Array.from({ length: ORDERS }, () => placeOrder(shop, productId)));
  ids = orders.map(({ id }) => id);
  await setExpiry(shop.database, "-1 second", ...ids);
}

/** Expects that all orders have expired once. */
async function expectExpired(): Promise<void> {
  for (const id of ids) expect(await eventTypes(shop, id)).toEqual(EXPIRED_HISTORY);
  expect(await stockOf(shop, productId)).toBe(BigInt(ORDERS));
  expect(await shop.database.query("select from order_expiry")).toEqual([]);
}

/** Lets a worker expire all orders, whatever has become of the transaction whose connection was lost. */
async function expireAll(worker: ExpiryWorker): Promise<void> {
  // PostgreSQL may still have to commit, or to notice that the connection is closed.
  await expect
    .poll(async () => {
      await endLeases(shop.database);
      await worker.runAll();
      const states = await Promise.all(
        ids.map(async (id) => (await shop.orders.getOrder({ id })).order?.state),
      );
      return states.every((state) => state === OrderState.EXPIRED);
    })
    .toBe(true);
}

/** The transactions of an expiry: the statement that only this one has, and the event that it writes. */
const TRANSACTIONS = {
  first: /insert into order_expiry/,
  second: /delete from order_expiry where order_id = any/,
};

const interruptions: [transaction: keyof typeof TRANSACTIONS, moment: CommitMoment][] = [
  ["first", "before"],
  ["first", "during"],
  ["first", "after"],
  ["second", "before"],
  ["second", "during"],
  ["second", "after"],
];

test.each(interruptions)(
  "orders expire once when the connection of the %s transaction is lost %s its COMMIT",
  async (transaction, moment) => {
    await placeDueOrders();
    const worker = await openExpiryWorker(proxiedUrl(shop.database.url, proxy));
    const count = proxy.interruptions();
    proxy.interrupt({ moment, statement: TRANSACTIONS[transaction] });
    const results = await Promise.allSettled([worker.run()]);
    expect(proxy.interruptions()).toBe(count + 1);
    // A connection that is lost before the COMMIT is another attempt; later the outcome is unknown to the worker.
    if (results[0].status === "rejected") {
      expect(results[0].reason).toMatchObject({ code: "unavailable" });
      await expireAll(worker);
    }
    await expectExpired();
  },
);

test.each(interruptions)(
  "orders expire once when the worker is killed in the %s transaction %s its COMMIT, and another one goes on",
  async (transaction, moment) => {
    await placeDueOrders();
    const killed = Promise.withResolvers<void>();
    proxy.interrupt({
      moment,
      statement: TRANSACTIONS[transaction],
      onInterrupt: () => {
        worker.child.kill("SIGKILL");
        killed.resolve();
      },
    });
    const worker = startProcess({
      PORT: "0",
      SEED_DEMO: "off",
      DATABASE_URL: proxiedUrl(shop.database.url, proxy),
      REDIS_URL: inject("redisUrl"),
    });
    onTestFinished(async () => {
      worker.child.kill("SIGKILL");
      await worker.exited;
    });
    await killed.promise;
    await worker.exited;
    await expireAll(await openExpiryWorker(shop.database.url));
    await expectExpired();
  },
);

test("a worker that ends between its transactions leaves its orders to another one, after its lease", async () => {
  await placeDueOrders();
  const ending = new AbortController();
  const worker = await openExpiryWorker(shop.database.url, {
    cancelPayment: async () => {
      ending.abort();
      return new Promise(() => {});
    },
  });
  await expect(worker.run(ending.signal)).rejects.toThrow();
  const other = await openExpiryWorker(shop.database.url);
  expect(await other.run()).toEqual({ taken: 0, postponed: 0 });
  for (const id of ids) {
    expect((await shop.orders.getOrder({ id })).order).toMatchObject({
      state: OrderState.PENDING,
      etag: "2",
    });
  }
  expect(await stockOf(shop, productId)).toBe(0n);
  await endLeases(shop.database);
  expect(await other.run()).toEqual({ taken: ORDERS, postponed: 0 });
  await expectExpired();
});

test("orders expire once when all connections are terminated while payments are cancelled", async () => {
  await placeDueOrders();
  const worker = await openExpiryWorker(shop.database.url, {
    cancelPayment: async () => {
      await terminateConnections(shop.database);
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: ORDERS, postponed: 0 });
  await expectExpired();
});
