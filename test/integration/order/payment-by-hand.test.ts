import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderActor } from "../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType, PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderState, OrderTransition, PaymentState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const EUR_20 = { currencyCode: "EUR", minorUnits: 2_000n };

/** Places an order of EUR 20.00. */
async function placeOrder(): Promise<string> {
  const productId = await makeProduct(shop, { stock: 5n });
  const { order } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 2n }] },
  });
  return order?.id ?? "";
}

function payment(id: string, amount = EUR_20) {
  const method = PaymentMethod.BANK_TRANSFER;
  return { id, amount, method, reference: "Transfer 4711", requestId: randomUUID() };
}

test("a payment by hand confirms the order and is recorded in its history", async () => {
  const id = await placeOrder();
  const { order } = await shop.orders.markOrderPaid(payment(id));
  expect(order).toMatchObject({
    state: OrderState.CONFIRMED,
    paymentState: PaymentState.PAID,
    amountDue: { minorUnits: 0n },
    etag: "2",
    allowedTransitions: [
      OrderTransition.CANCEL,
      OrderTransition.SHIP,
      OrderTransition.CANCEL_ITEMS,
      OrderTransition.REFUND,
    ],
  });
  expect(order?.expireTime).toBeUndefined();
  const { events } = await shop.orders.listOrderEvents({ id });
  expect(events).toMatchObject([
    { sequence: 1n, type: OrderEventType.PLACED, state: OrderState.PENDING, actor: OrderActor.SYSTEM },
    {
      sequence: 2n,
      type: OrderEventType.PAID,
      state: OrderState.CONFIRMED,
      amount: EUR_20,
      paymentMethod: PaymentMethod.BANK_TRANSFER,
      paymentReference: "Transfer 4711",
    },
  ]);
});

test("a repeat returns the first response, and a second payment is refused with what is allowed", async () => {
  const id = await placeOrder();
  const request = payment(id);
  const first = await shop.orders.markOrderPaid(request);
  expect(await shop.orders.markOrderPaid(request)).toEqual(first);
  expect(await failureOf(shop.orders.markOrderPaid(payment(id)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    metadata: { payment_state: "PAID", allowed_transitions: "CANCEL,SHIP,CANCEL_ITEMS,REFUND" },
  });
});

test("of ten payments at the same time, one is recorded", async () => {
  const id = await placeOrder();
  const payments = Array.from({ length: 10 }, () => shop.orders.markOrderPaid(payment(id)));
  const settled = await Promise.allSettled(payments);
  expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 1n });
  expect(events.map(({ type }) => type)).toEqual([OrderEventType.PAID]);
});

test.each([
  ["less", { currencyCode: "EUR", minorUnits: 1_999n }],
  ["more", { currencyCode: "EUR", minorUnits: 2_001n }],
  ["another currency", { currencyCode: "USD", minorUnits: 2_000n }],
])("a payment of %s is refused with the amount that is due", async (_name, amount) => {
  const id = await placeOrder();
  expect(await failureOf(shop.orders.markOrderPaid(payment(id, amount)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "AMOUNT_NOT_DUE",
    metadata: { amount_due: "2000", currency_code: "EUR" },
  });
});

test.each([PaymentMethod.CASH, PaymentMethod.BANK_TRANSFER])(
  "a payment by method %s needs a reference",
  async (method) => {
    const id = await placeOrder();
    const request = { ...payment(id), method, reference: "" };
    expect(await failureOf(shop.orders.markOrderPaid(request))).toMatchObject({
      code: "InvalidArgument",
      fields: ["reference"],
    });
  },
);

test("an order that costs nothing is paid from the start, and its repeats return the same", async () => {
  const productId = await makeProduct(shop, { stock: 5n, minorUnits: 0n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const { order } = await shop.orders.createOrder(request);
  expect(order).toMatchObject({ state: OrderState.CONFIRMED, paymentState: PaymentState.PAID });
  expect((await shop.orders.createOrder(request)).order).toEqual(order);
});

test("the history is paged, and starts after a sequence", async () => {
  const id = await placeOrder();
  await shop.orders.markOrderPaid(payment(id));
  await shop.orders.cancelOrder({ id, reason: "The customer has changed their mind" });
  const sequences: bigint[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
    const page = await shop.orders.listOrderEvents({ id, pageSize: 1, pageToken });
    sequences.push(...page.events.map(({ sequence }) => sequence));
    pageToken = page.nextPageToken || undefined;
  }
  expect(sequences).toEqual([1n, 2n, 3n]);
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 2n });
  expect(events).toMatchObject([
    { sequence: 3n, type: OrderEventType.CANCELLED, reason: "The customer has changed their mind" },
  ]);
  expect((await shop.orders.listOrderEvents({ id, afterSequence: 3n })).events).toEqual([]);
});
