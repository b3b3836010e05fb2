import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { type Order, OrderState, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
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
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const ORDERS = 80;

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Places orders of one unit each, of one product, whose time to pay has passed. */
async function placeDueOrders(productId: string, count: number): Promise<Order[]> {
  const orders = await Promise.all(Array.from({ length: count }, () => placeOrder(shop, productId)));
  await setExpiry(shop.database, "-1 second", ...orders.map(({ id }) => id));
  return orders;
}

const openWorkers = (count: number) =>
  Promise.all(Array.from({ length: count }, () => openExpiryWorker(shop.database.url)));

type Verb = (order: Order) => Promise<unknown>;
const verbs: [
  name: string,
  verb: Verb,
  event: OrderEventType,
  states: [OrderState, PaymentState],
  keeps: boolean,
][] = [
  [
    "payment",
    (order) => payOrder(shop, order),
    OrderEventType.PAID,
    [OrderState.CONFIRMED, PaymentState.PAID],
    true,
  ],
  [
    "cancellation",
    ({ id }) => shop.orders.cancelOrder({ id }),
    OrderEventType.CANCELLED,
    [OrderState.CANCELLED, PaymentState.UNPAID],
    false,
  ],
  [
    "extension",
    ({ id }) => shop.orders.setOrderExpireTime({ id, expireTime: timestampFromMs(Date.now() + 3_600_000) }),
    OrderEventType.EXPIRE_TIME_SET,
    [OrderState.PENDING, PaymentState.UNPAID],
    true,
  ],
];

test.each(verbs)(
  "%s and expiry of the same orders: exactly one of them happens to each order",
  async (...row) => {
    const [, verb, event, states, keepsUnits] = row;
    const productId = await makeProduct(shop, { stock: BigInt(ORDERS) });
    const orders = await placeDueOrders(productId, ORDERS);
    const workers = await openWorkers(2);
    const [, ...failures] = await Promise.all([
      Promise.all(workers.map((worker) => worker.runAll())),
      ...orders.map((order) =>
        verb(order).then(
          () => undefined,
          (error) => failureOf(Promise.reject(error)),
        ),
      ),
    ]);
    for (const worker of workers) await worker.runAll();
    let kept = 0;
    for (const [index, { id }] of orders.entries()) {
      const failure = failures[index];
      const { order } = await shop.orders.getOrder({ id });
      const types = await eventTypes(shop, id);
      if (failure === undefined) {
        expect([order?.state, order?.paymentState, types]).toEqual([
          ...states,
          [OrderEventType.PLACED, event],
        ]);
        kept += 1;
      } else {
        expect(failure).toMatchObject({ code: "FailedPrecondition", reason: "ORDER_STATE" });
        expect([order?.state, types]).toEqual([OrderState.EXPIRED, EXPIRED_HISTORY]);
      }
    }
    expect(await stockOf(shop, productId)).toBe(BigInt(keepsUnits ? ORDERS - kept : ORDERS));
  },
);

test("an order whose payment has locked it first is paid, and one whose expiry has begun first is not", async () => {
  const productId = await makeProduct(shop, { stock: 2n });
  const [first, second] = await placeDueOrders(productId, 2);
  if (first === undefined || second === undefined) throw new Error("no order");
  await payOrder(shop, first);
  let failure: unknown;
  const worker = await openExpiryWorker(shop.database.url, {
    async cancelPayment() {
      failure = await failureOf(payOrder(shop, second));
      return "cancelled";
    },
  });
  expect(await worker.run()).toEqual({ taken: 1, postponed: 0 });
  expect(failure).toMatchObject({ reason: "ORDER_STATE" });
  expect(await stockOf(shop, productId)).toBe(1n);
});

test("several workers expire each order once", async () => {
  const products = await Promise.all(Array.from({ length: 5 }, () => makeProduct(shop, { stock: 200n })));
  const orders = (await Promise.all(products.map((productId) => placeDueOrders(productId, 70)))).flat();
  const workers = await openWorkers(3);
  const results = await Promise.all(workers.map((worker) => worker.runAll()));
  expect(results.reduce((sum, { taken }) => sum + taken, 0)).toBe(orders.length);
  expect(results.reduce((sum, { postponed }) => sum + postponed, 0)).toBe(0);
  const histories = await Promise.all(orders.map(({ id }) => eventTypes(shop, id)));
  expect(histories).toEqual(orders.map(() => EXPIRED_HISTORY));
  expect(await Promise.all(products.map((id) => stockOf(shop, id)))).toEqual(products.map(() => 200n));
});

test.each(["cancelled", "paid"] as const)(
  "a worker that is slower than its lease completes nothing twice, with the outcome %s",
  async (outcome) => {
    const productId = await makeProduct(shop, { stock: 3n });
    const orders = await placeDueOrders(productId, 3);
    const [asked, responded] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const slow = await openExpiryWorker(shop.database.url, {
      async cancelPayment() {
        asked.resolve();
        await responded.promise;
        return outcome;
      },
    });
    const fast = await openExpiryWorker(shop.database.url, { cancelPayment: async () => outcome });
    const slowRun = slow.run();
    await asked.promise;
    expect(await fast.run()).toEqual({ taken: 0, postponed: 0 });
    await endLeases(shop.database);
    expect(await fast.run()).toEqual({ taken: 3, postponed: 0 });
    responded.resolve();
    expect(await slowRun).toEqual({ taken: 3, postponed: 0 });
    for (const { id } of orders) expect(await eventTypes(shop, id)).toHaveLength(3);
    expect(await stockOf(shop, productId)).toBe(outcome === "cancelled" ? 3n : 0n);
    expect(await shop.database.query("select from order_expiry")).toEqual([]);
  },
);

test("units that expiries release while the same product is ordered are sold, each once", async () => {
  const productId = await makeProduct(shop, { stock: 40n });
  await placeDueOrders(productId, 40);
  const worker = await openExpiryWorker(shop.database.url);
  let sold = 0;
  const buy = async () => {
    while (sold < 40) {
      const failure = await placeOrder(shop, productId).then(
        () => undefined,
        (error) => failureOf(Promise.reject(error)),
      );
      if (failure === undefined) sold += 1;
      else expect(failure).toMatchObject({ reason: "OUT_OF_STOCK" });
      if (sold === 40) return;
    }
  };
  await Promise.all([worker.runAll(), buy()]);
  expect(await stockOf(shop, productId)).toBe(0n);
  expect(await failureOf(placeOrder(shop, productId))).toMatchObject({ reason: "OUT_OF_STOCK" });
});

test("verbs of all kinds race with the expiry of orders of the same products without a deadlock", async () => {
  const products = await Promise.all(Array.from({ length: 4 }, () => makeProduct(shop, { stock: 1_000n })));
  const place = async (index: number) => {
    const rotated = [...products.slice(index % 4), ...products.slice(0, index % 4)];
    const items = rotated.map((productId) => ({ productId, quantity: 1n }));
    return (await shop.orders.createOrder({ requestId: crypto.randomUUID(), order: { items } })).order;
  };
  const due = await Promise.all(Array.from({ length: 60 }, (_, index) => place(index)));
  await setExpiry(shop.database, "-1 second", ...due.map((order) => order?.id ?? ""));
  const workers = await openWorkers(2);
  const [results, ...fresh] = await Promise.all([
    Promise.all(workers.map((worker) => worker.runAll())),
    ...Array.from({ length: 60 }, async (_, index) => {
      const order = await place(index);
      if (index % 2 === 0) await shop.orders.cancelOrder({ id: order?.id ?? "" });
      return order;
    }),
  ]);
  expect(results.reduce((sum, { taken }) => sum + taken, 0)).toBe(60);
  expect(fresh.every((order) => order !== undefined)).toBe(true);
  expect(await Promise.all(products.map((id) => stockOf(shop, id)))).toEqual(products.map(() => 970n));
});
