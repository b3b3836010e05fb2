import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";
import {
  EXPIRED_HISTORY,
  eventTypes,
  openExpiryWorker,
  placeOrder,
  setExpiry,
} from "../../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const HOUR_MS = 3_600_000;

let shop: TestShop;
let id: string;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
});
beforeEach(async () => {
  id = (await placeOrder(shop, await makeProduct(shop, { stock: 1n }))).id;
});
afterAll(() => shop.close());

const stateOf = async () => (await shop.orders.getOrder({ id })).order?.state;

test("a worker whose clock is ahead expires no order before the time of the database", async () => {
  const clock = createTestClock();
  const worker = await openExpiryWorker(shop.database.url, { clock });
  await setExpiry(shop.database, "10 minutes", id);
  clock.advance(HOUR_MS);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  expect(await stateOf()).toBe(OrderState.PENDING);
  const delayMs = (await worker.findDelay()) ?? 0;
  expect(delayMs).toBeGreaterThan(0);
  expect(delayMs).toBeLessThanOrEqual(600_000);
  await setExpiry(shop.database, "-1 second", id);
  expect(await worker.findDelay()).toBeLessThanOrEqual(0);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await eventTypes(shop, id)).toEqual(EXPIRED_HISTORY);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a worker whose clock is behind, or before a database whose clock is ahead, waits for its own time", async () => {
  const clock = createTestClock();
  const worker = await openExpiryWorker(shop.database.url, { clock });
  await setExpiry(shop.database, "-10 minutes", id);
  clock.advance(-HOUR_MS);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  const delayMs = (await worker.findDelay()) ?? 0;
  // It does not poll in the meantime as if an order were due.
  expect(delayMs).toBeGreaterThan(40 * 60_000);
  clock.advance(HOUR_MS);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await stateOf()).toBe(OrderState.EXPIRED);
});

test("an order of an instance whose clock is behind has its whole time to pay, and repeats return the same response", async () => {
  const clock = createTestClock();
  clock.advance(-HOUR_MS);
  const slow = await openExpiryWorker(shop.database.url, { clock });
  const productId = await makeProduct(shop, { stock: 1n });
  const [before] = await shop.database.query<{ now: Date }>("select now()");
  const creation = {
    requestId: randomUUID(),
    validateOnly: false,
    order: { customerId: "", promotionId: "", items: [{ productId, quantity: 1n }] },
  };
  const { order } = await slow.orders.create(internalCall(), creation);
  // Whole seconds of the difference between the clocks are added.
  const reservedMs = (order.expireTime?.getTime() ?? 0) - (before?.now.getTime() ?? 0);
  expect(reservedMs).toBeGreaterThan(1_799_000);
  const [stored] = await shop.database.query("select expires_at from orders where id = $1", [order.id]);
  expect(stored).toEqual({ expires_at: order.expireTime });
  expect(await (await openExpiryWorker(shop.database.url)).run()).toEqual({ taken: 0, postponed: 0 });
  await shop.orders.setOrderExpireTime({ id: order.id, neverExpires: true });
  expect(await slow.orders.create(internalCall(), creation)).toMatchObject({ order, replayed: true });
});

test("the clock set back during an expiry does not keep it from being completed", async () => {
  const clock = createTestClock();
  await setExpiry(shop.database, "-1 second", id);
  const worker = await openExpiryWorker(shop.database.url, {
    clock,
    cancelPayment: async () => {
      clock.advance(-24 * HOUR_MS);
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  const { events } = await shop.orders.listOrderEvents({ id });
  const times = events.map(({ createTime }) => Number(createTime?.seconds));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("without orders that can expire there is no time to wait for", async () => {
  await shop.orders.cancelOrder({ id });
  await (await openExpiryWorker(shop.database.url)).runAll();
  await shop.database.query("update orders set expires_at = null where closing = 'NONE'");
  expect(await (await openExpiryWorker(shop.database.url)).findDelay()).toBeUndefined();
});
