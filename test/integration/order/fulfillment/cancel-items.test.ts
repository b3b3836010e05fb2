import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  FulfillmentState,
  type Order,
  OrderState,
  OrderTransition,
  PaymentState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  orderOf,
  payOrder,
  placeOrder,
  placePaidOrder,
  stockOfItems,
  unitsOf,
} from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCustomer, makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";
import { makePromotion } from "../../../support/tracker/promotion-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

async function cancelItems(
  { id }: Pick<Order, "id">,
  units: readonly (readonly [itemId: string, quantity: bigint])[],
  reason = "",
): Promise<Order> {
  const items = units.map(([itemId, quantity]) => ({ itemId, quantity }));
  return orderOf(await shop.orders.cancelOrderItems({ requestId: randomUUID(), id, items, reason }));
}

async function ship({ id }: Pick<Order, "id">, itemId: string, quantity: bigint): Promise<void> {
  await shop.orders.shipOrder({ requestId: randomUUID(), id, items: [{ itemId, quantity }] });
}

test("cancelled units are released, and the amount due falls", async () => {
  const order = await placeOrder(shop, [3n, 2n]);
  const after = await cancelItems(order, [["1", 2n]], "damaged");
  expect(after).toMatchObject({
    state: OrderState.PENDING,
    etag: "2",
    totalPrice: { minorUnits: 5_000n },
    amountDue: { minorUnits: 3_000n },
  });
  expect(unitsOf(after)).toEqual([
    [2, 0, 0],
    [0, 0, 0],
  ]);
  expect(await stockOfItems(shop, order)).toEqual([
    { onHand: 100, reserved: 1 },
    { onHand: 100, reserved: 2 },
  ]);
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 1n });
  expect(events).toMatchObject([
    {
      type: OrderEventType.ITEMS_CANCELLED,
      reason: "damaged",
      items: [{ itemId: "1", quantity: 2n }],
      state: OrderState.PENDING,
    },
  ]);
  expect((await payOrder(shop, after)).amountDue?.minorUnits).toBe(0n);
});

test("an order whose units are all cancelled is cancelled", async () => {
  const order = await placePaidOrder(shop, [3n, 2n]);
  expect((await cancelItems(order, [["2", 2n]])).state).toBe(OrderState.CONFIRMED);
  const after = await cancelItems(order, [["1", 3n]]);
  expect(after).toMatchObject({ state: OrderState.CANCELLED, allowedTransitions: [OrderTransition.REFUND] });
  expect(await stockOfItems(shop, order)).toEqual([
    { onHand: 100, reserved: 0 },
    { onHand: 100, reserved: 0 },
  ]);
  // CancelOrder is a no-op for it.
  expect(orderOf(await shop.orders.cancelOrder({ id: order.id, etag: "1" }))).toEqual(after);
});

test.each([
  ["fulfilled", false, FulfillmentState.FULFILLED, OrderState.CONFIRMED],
  ["delivered", true, FulfillmentState.DELIVERED, OrderState.COMPLETED],
])(
  "an order whose other units are %s is so after the rest is cancelled",
  async (_, deliver, fulfillment, state) => {
    const order = await placePaidOrder(shop, [3n, 2n]);
    await ship(order, "1", 2n);
    if (deliver) await shop.orders.deliverOrder({ requestId: randomUUID(), id: order.id });
    const partly = await cancelItems(order, [["1", 1n]]);
    expect(partly.fulfillmentState).toBe(FulfillmentState.PARTIALLY_FULFILLED);
    const after = await cancelItems(order, [["2", 2n]]);
    expect(after).toMatchObject({ fulfillmentState: fulfillment, state });
    expect(await stockOfItems(shop, order)).toEqual([
      { onHand: 98, reserved: 0 },
      { onHand: 100, reserved: 0 },
    ]);
  },
);

test("an unpaid order of which nothing is due any more is paid, and does not expire", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimit: 2n });
  const customerId = await makeCustomer(shop);
  const free = await makeProduct(shop, { stock: 5n, minorUnits: 0n });
  const priced = await makeProduct(shop, { stock: 5n });
  const items = [
    { productId: free, quantity: 2n },
    { productId: priced, quantity: 2n },
  ];
  const request = { requestId: randomUUID(), order: { customerId, promotionId, items } };
  const order = orderOf(await shop.orders.createOrder(request));
  expect((await cancelItems(order, [["2", 1n]])).paymentState).toBe(PaymentState.UNPAID);
  const after = await cancelItems(order, [["2", 1n]]);
  expect(after).toMatchObject({
    state: OrderState.CONFIRMED,
    paymentState: PaymentState.PAID,
    amountDue: { minorUnits: 0n },
    allowedTransitions: [OrderTransition.CANCEL, OrderTransition.SHIP, OrderTransition.CANCEL_ITEMS],
  });
  expect(after.expireTime).toBeUndefined();
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 2n });
  expect(events).toMatchObject([
    { type: OrderEventType.ITEMS_CANCELLED, paymentState: PaymentState.PAID, state: OrderState.CONFIRMED },
  ]);
  const sales = await shop.database.query(
    "select product_id, kind, amount_minor::int as amount from purchase where order_id = $1",
    [order.id],
  );
  expect(sales).toEqual([{ product_id: free, kind: "SALE", amount: 0 }]);
  const holds = await shop.database.query("select from promotion_hold where order_id = $1", [order.id]);
  expect(holds).toEqual([]);
});

test("units that are shipped or cancelled cannot be cancelled", async () => {
  const order = await placePaidOrder(shop, [5n, 1n]);
  await ship(order, "1", 2n);
  await cancelItems(order, [["1", 1n]]);
  const call = cancelItems(order, [
    ["2", 1n],
    ["1", 3n],
  ]);
  expect(await failureOf(call)).toMatchObject({
    code: "FailedPrecondition",
    reason: "QUANTITY_TOO_LARGE",
    preconditions: ["QUANTITY"],
    message:
      "Too few units are left: item 1: 2 neither shipped nor cancelled, 3 requested. Nothing was changed.",
  });
  expect(await stockOfItems(shop, order)).toMatchObject([{ reserved: 2 }, { reserved: 1 }]);
});

test("a cancellation that makes a product available again shows it in stock", async () => {
  const order = await placeOrder(shop, [2n], { stock: 2n });
  const { productId = "" } = order.items[0] ?? {};
  const isInStock = async () => {
    const [row] = await shop.database.query<{ in_stock: boolean }>(
      "select in_stock from product where id = $1",
      [productId],
    );
    return row?.in_stock;
  };
  expect(await isInStock()).toBe(false);
  await cancelItems(order, [["1", 1n]]);
  expect(await isInStock()).toBe(true);
});

test.each([
  ["no item", [], { code: "InvalidArgument", fields: ["items"] }],
  ["an unknown item", [["2", 1n]], { code: "NotFound", reason: "ORDER_ITEM_NOT_FOUND" }],
  [
    "an item twice",
    [
      ["1", 1n],
      ["1", 1n],
    ],
    { code: "InvalidArgument", reason: "INVALID_FIELD", fields: ["items[1].item_id"] },
  ],
] as const)("a cancellation of %s is rejected", async (_name, units, expected) => {
  const order = await placeOrder(shop, [2n]);
  expect(await failureOf(cancelItems(order, units))).toMatchObject(expected);
  expect((await shop.orders.getOrder({ id: order.id })).order).toEqual(order);
});

test("a repeat with the same request_id cancels nothing more", async () => {
  const order = await placeOrder(shop, [3n]);
  const request = { requestId: randomUUID(), id: order.id, items: [{ itemId: "1", quantity: 1n }] };
  const first = await shop.orders.cancelOrderItems(request);
  expect(await shop.orders.cancelOrderItems(request)).toEqual(first);
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 2 }]);
  const stale = shop.orders.cancelOrderItems({ ...request, requestId: randomUUID(), etag: "1" });
  expect(await failureOf(stale)).toMatchObject({ code: "Aborted", reason: "STALE_ETAG" });
});
