import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { withOutbox } from "../../../../src/infra/outbox/outbox.ts";
import { openPostgres, type Tx } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { systemClock } from "../../../../src/kernel/clock.ts";
import { takeExpiries } from "../../../../src/order/expiry/take-expiries.ts";
import { silentLog } from "../../../support/log.ts";
import {
  EXPIRED_HISTORY,
  endLeases,
  eventTypes,
  openExpiryWorker,
  payOrder,
  placeOrder,
  setExpiry,
} from "../../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { countLockWaits } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Adds to an order the row of an expiry that has ended, which is due. */
async function addRemnant(id: string): Promise<void> {
  await shop.database.query("insert into order_expiry values ($1, 1, now())", [id]);
}

const expiryRows = () => shop.database.query("select order_id as id, attempts from order_expiry");

test("a row of an order that is not EXPIRING is deleted, and the payment of the order is not cancelled", async () => {
  const productId = await makeProduct(shop, { stock: 4n });
  const open = await placeOrder(shop, productId);
  const paid = await placeOrder(shop, productId);
  const cancelled = await placeOrder(shop, productId);
  const due = await placeOrder(shop, productId);
  await payOrder(shop, paid);
  await shop.orders.cancelOrder({ id: cancelled.id });
  await setExpiry(shop.database, "-1 second", due.id);
  for (const { id } of [open, paid, cancelled, due]) await addRemnant(id);
  const calls: string[] = [];
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment(_call, orderId) {
      calls.push(orderId);
      if (calls.length === 1) throw new Error("the gateway is down");
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 1 });
  expect(await expiryRows()).toEqual([{ id: due.id, attempts: 1 }]);
  expect(await findViolations(shop.database.url)).toEqual([]);
  await endLeases(shop.database);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(calls).toEqual([due.id, due.id]);
  expect(await eventTypes(shop, due.id)).toEqual(EXPIRED_HISTORY);
  expect(await expiryRows()).toEqual([]);
});

test("a row stays while an uncommitted transaction makes its order EXPIRING", async () => {
  const { id } = await placeOrder(shop, await makeProduct(shop, { stock: 1n }));
  await setExpiry(shop.database, "-1 second", id);
  const pool = { poolMax: 1, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const postgres = await openPostgres({ url: shop.database.url, entities, log: silentLog, ...pool });
  onTestFinished(() => postgres.close());
  const other = await openExpiryWorker(shop.database.url);
  const call = internalCall();
  let isAdded = false;
  let round: Promise<unknown> | undefined;
  let isRoundDone = false;
  await withOutbox(postgres, { notify: () => {} }).transact(call, async (tx) => {
    const afterTakingOver: Tx = {
      ...tx,
      async query(statement) {
        const rows = await tx.query(statement);
        if (!isAdded) await addRemnant(id);
        isAdded = true;
        return rows;
      },
    };
    // The lease ends immediately, as that of a transaction whose commit takes longer.
    const limits = { batchSize: 10, leaseMs: 0 };
    expect(await takeExpiries(afterTakingOver, call, systemClock, limits)).toEqual([
      { orderId: id, attempts: 1 },
    ]);
    round = other.run().finally(() => {
      isRoundDone = true;
    });
    await expect.poll(async () => isRoundDone || (await countLockWaits(shop.database)) === 1).toBe(true);
  });
  expect(await round).toEqual({ taken: 0, postponed: 0 });
  expect(await expiryRows()).toEqual([{ id, attempts: 1 }]);
  expect(await other.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await eventTypes(shop, id)).toEqual(EXPIRED_HISTORY);
});
