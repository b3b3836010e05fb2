import { randomUUID } from "node:crypto";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { OrderActor } from "../../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderState, OrderTransition, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
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
import { makeCustomer, makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { whileLocked } from "../../../support/stores/database-activity.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  // The tests run the rounds of the expiry by themselves.
  shop = await startShop({ WORKERS: "0" });
});
afterEach(async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
  await (await openExpiryWorker(shop.database.url)).runAll();
});
afterAll(() => shop.close());

const read = async (id: string) => (await shop.orders.getOrder({ id })).order;

test("an order that is not paid in time expires: its units are released once, and its history says so", async () => {
  const productId = await makeProduct(shop, { stock: 5n });
  const { id } = await placeOrder(shop, productId, { quantity: 3n });
  const worker = await openExpiryWorker(shop.database.url);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  await setExpiry(shop.database, "-1 second", id);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  const order = await read(id);
  expect(order).toMatchObject({
    state: OrderState.EXPIRED,
    paymentState: PaymentState.UNPAID,
    allowedTransitions: [],
    amountDue: { minorUnits: 0n },
    etag: "3",
  });
  expect(order?.expireTime).toBeUndefined();
  expect(order?.items[0]).toMatchObject({ quantity: 3n, cancelledQuantity: 3n });
  const { events } = await shop.orders.listOrderEvents({ id });
  expect(events.map(({ type, actor, state }) => [type, actor, state])).toEqual([
    [OrderEventType.PLACED, OrderActor.SYSTEM, OrderState.PENDING],
    [OrderEventType.EXPIRY_STARTED, OrderActor.SYSTEM, OrderState.PENDING],
    [OrderEventType.EXPIRED, OrderActor.SYSTEM, OrderState.EXPIRED],
  ]);
  expect(await stockOf(shop, productId)).toBe(5n);
  const { movements } = await shop.catalog.listStockMovements({ productId, reason: StockReason.EXPIRE });
  expect(movements.map(({ orderId, reservedDelta }) => [orderId, reservedDelta])).toEqual([[id, -3n]]);
});

test("an order without an expire time, and one that is paid, authorized or cancelled, do not expire", async () => {
  const productId = await makeProduct(shop, { stock: 5n });
  const [kept, paid, cancelled, authorized] = [
    await placeOrder(shop, productId),
    await placeOrder(shop, productId),
    await placeOrder(shop, productId),
    await placeOrder(shop, productId),
  ];
  await shop.orders.setOrderExpireTime({ id: kept.id, neverExpires: true });
  await payOrder(shop, paid);
  await shop.orders.cancelOrder({ id: cancelled.id });
  // No transition leads to these states yet, so that no event of the history can: its events take over the state.
  const setPaymentState = async (state: string) => {
    await shop.database.query("update orders set payment_state = $1 where id = $2", [state, authorized.id]);
    await shop.database.query("update order_event set payment_state = $1 where order_id = $2", [
      state,
      authorized.id,
    ]);
  };
  await setPaymentState("AUTHORIZED");
  await setExpiry(shop.database, "-1 second");
  const worker = await openExpiryWorker(shop.database.url);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  expect(await stockOf(shop, productId)).toBe(2n);
  // The next attempt to pay may follow a failed one until the order expires.
  await setPaymentState("FAILED");
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await eventTypes(shop, authorized.id)).toEqual(EXPIRED_HISTORY);
  await setPaymentState("UNPAID");
});

test("the lease of a worker ends 30 s after the expiry has begun at the latest", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { id } = await placeOrder(shop, productId);
  await setExpiry(shop.database, "-1 second", id);
  const leases: object[] = [];
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment(_call, orderId) {
      const lease = "retry_at between now() and now() + interval '30 s' as is_bounded";
      leases.push(
        ...(await shop.database.query<object>(`select ${lease} from order_expiry where order_id = $1`, [
          orderId,
        ])),
      );
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(leases).toEqual([{ is_bounded: true }]);
});

test("an EXPIRING order is PENDING without allowed transitions, and the errors of all transitions say why", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const placed = await placeOrder(shop, productId);
  const { id, amountDue } = placed;
  await setExpiry(shop.database, "-1 second", id);
  const observed: unknown[] = [];
  const failures: unknown[] = [];
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment(_call, orderId) {
      const order = await read(orderId);
      observed.push([order?.state, order?.allowedTransitions, order?.etag, order?.amountDue]);
      expect(order?.expireTime && timestampDate(order.expireTime).getTime()).toBeLessThan(Date.now());
      failures.push(
        await failureOf(shop.orders.cancelOrder({ id })),
        await failureOf(shop.orders.setOrderExpireTime({ id, neverExpires: true })),
        await failureOf(payOrder(shop, placed)),
      );
      return "cancelled";
    },
  });
  await worker.run();
  expect(observed).toEqual([[OrderState.PENDING, [], "2", amountDue]]);
  const expected = {
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    message: expect.stringContaining("its time to pay has passed and it is about to expire"),
  };
  expect(failures).toMatchObject([expected, expected, expected]);
  expect(await read(id)).toMatchObject({ state: OrderState.EXPIRED });
});

test("an order whose payment was made at the last moment gets more time until the payment is recorded", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const placed = await placeOrder(shop, productId);
  const { id } = placed;
  await setExpiry(shop.database, "-1 second", id);
  const worker = await openExpiryWorker(shop.database.url, { cancelPayment: async () => "paid" });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  const order = await read(id);
  expect(order).toMatchObject({ state: OrderState.PENDING, etag: "3" });
  expect(order?.allowedTransitions).toContain(OrderTransition.MARK_PAID);
  expect(await eventTypes(shop, id)).toEqual([
    OrderEventType.PLACED,
    OrderEventType.EXPIRY_STARTED,
    OrderEventType.EXPIRY_ABORTED,
  ]);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  const [row] = await shop.database.query<{ seconds: number }>(
    "select extract(epoch from expires_at - updated_at)::float8 as seconds from orders where id = $1",
    [id],
  );
  expect(row?.seconds).toBeGreaterThanOrEqual(1_800);
  expect(order?.expireTime).toBeDefined();
  await payOrder(shop, placed);
  expect(await stockOf(shop, productId)).toBe(0n);
});

test("an order whose payment cannot be cancelled stays EXPIRING, is tried again after growing delays, and then expires", async () => {
  const productId = await makeProduct(shop, { stock: 2n });
  const [failing, other] = [await placeOrder(shop, productId), await placeOrder(shop, productId)];
  await setExpiry(shop.database, "-1 second", failing.id, other.id);
  let isDown = true;
  const calls: string[] = [];
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment(_call, orderId) {
      calls.push(orderId);
      if (isDown && orderId === failing.id) throw new Error("the gateway is down");
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: 2, postponed: 1 });
  expect(await read(other.id)).toMatchObject({ state: OrderState.EXPIRED });
  const delays: number[] = [];
  for (let attempt = 2; attempt <= 4; attempt += 1) {
    expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
    const [row] = await shop.database.query<{ attempts: number; seconds: number }>(
      "select attempts, extract(epoch from retry_at - now())::float8 as seconds from order_expiry where order_id = $1",
      [failing.id],
    );
    delays.push(row?.seconds ?? 0);
    expect(row?.attempts).toBe(attempt - 1);
    await endLeases(shop.database);
    expect(await worker.run()).toEqual({ taken: 1, postponed: 1 });
  }
  // 5, 10 and 20 s with jitter of a half.
  expect(delays.map((seconds, index) => seconds / (5 * 2 ** index)).every((ratio) => ratio < 1.5)).toBe(true);
  expect(await stockOf(shop, productId)).toBe(1n);
  isDown = false;
  await endLeases(shop.database);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(calls.filter((id) => id === failing.id)).toHaveLength(5);
  expect(await eventTypes(shop, failing.id)).toEqual(EXPIRED_HISTORY);
  expect(await stockOf(shop, productId)).toBe(2n);
});

test("a locked product keeps only its own orders from expiring", async () => {
  const [locked, free] = [await makeProduct(shop, { stock: 4n }), await makeProduct(shop, { stock: 30n })];
  const waiting = await placeOrder(shop, locked);
  for (let count = 0; count < 10; count += 1) await placeOrder(shop, free);
  await setExpiry(shop.database, "-1 second");
  const worker = await openExpiryWorker(shop.database.url);
  await whileLocked(shop.database, locked, async () => {
    expect(await worker.run()).toEqual({ taken: 11, postponed: 1 });
  });
  expect(await stockOf(shop, free)).toBe(30n);
  expect(await read(waiting.id)).toMatchObject({ state: OrderState.PENDING });
  await endLeases(shop.database);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await stockOf(shop, locked)).toBe(4n);
});

test("an order that another session has locked is left for a later round", async () => {
  const productId = await makeProduct(shop, { stock: 4n });
  const [first, second] = [await placeOrder(shop, productId), await placeOrder(shop, productId)];
  await setExpiry(shop.database, "-1 second", first.id, second.id);
  const worker = await openExpiryWorker(shop.database.url);
  await shop.database.query("begin");
  await shop.database.query("select from orders where id = $1 for update", [first.id]);
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  await shop.database.query("rollback");
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(await stockOf(shop, productId)).toBe(4n);
});

test("the expiry of an order deletes the reviews of products that its customer has not bought otherwise", async () => {
  const productId = await makeProduct(shop, { stock: 9n });
  const customers = await Promise.all([makeCustomer(shop), makeCustomer(shop), makeCustomer(shop)]);
  const orders = await Promise.all(
    customers.map((customerId) => placeOrder(shop, productId, { customerId })),
  );
  const [buyer = ""] = customers;
  await payOrder(shop, await placeOrder(shop, productId, { customerId: buyer }));
  const ratings = [5, 1, 3];
  for (const [index, customerId] of customers.entries()) {
    await shop.database.query(
      `insert into review (id, product_id, customer_id, author_name, rating, title, body, created_at)
       values ($1, $2, $3, 'Ann', $4, '', '', now())`,
      [randomUUID(), productId, customerId, ratings[index]],
    );
  }
  await shop.database.query("update product set rating_sum = 9, rating_count = 3 where id = $1", [productId]);
  await setExpiry(shop.database, "-1 second", ...orders.map(({ id }) => id));
  await (await openExpiryWorker(shop.database.url)).run();
  const reviews = await shop.database.query<{ customer_id: string }>(
    "select customer_id from review where product_id = $1",
    [productId],
  );
  expect(reviews.map(({ customer_id: id }) => id)).toEqual([buyer]);
  const { product } = await shop.catalog.getProduct({ key: { case: "id", value: productId } });
  expect([product?.ratingCount, product?.ratingAverage]).toEqual([1n, 5]);
});

test("a limit that an unpaid order has taken is free again when the order has expired", async () => {
  const productId = await makeProduct(shop, { stock: 5n });
  const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "One", purchaseLimit: 1n } });
  const promotionId = promotion?.id ?? "";
  const { id } = await placeOrder(shop, productId, { promotionId });
  const second = () => placeOrder(shop, productId, { promotionId });
  expect(await failureOf(second())).toMatchObject({ reason: "PURCHASE_LIMIT_REACHED" });
  await setExpiry(shop.database, "-1 second", id);
  await (await openExpiryWorker(shop.database.url)).run();
  const paid = await second();
  await payOrder(shop, paid);
  expect(await failureOf(second())).toMatchObject({ reason: "PURCHASE_LIMIT_REACHED" });
  const { purchases } = await shop.tracker.listPurchases({ promotionId });
  expect(purchases.map(({ orderId }) => orderId)).toEqual([paid.id]);
});

test("the expiry of the order that sold a product out invalidates the cached responses that show its availability", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { id, items } = await placeOrder(shop, productId);
  await setExpiry(shop.database, "-1 second", id);
  const worker = await openExpiryWorker(shop.database.url);
  await worker.run();
  expect(worker.invalidatedTags.toSorted()).toEqual(
    [`product:${productId}`, `sku:${items[0]?.sku}`, "catalog"].toSorted(),
  );
});
