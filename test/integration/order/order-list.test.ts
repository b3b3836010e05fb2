import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FulfillmentState, OrderState, PaymentState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { placeOrder, placePaidOrder } from "../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct } from "../../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

test("a list returns each order of a customer and state once, newest first", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  const customerId = await makeCustomer(shop);
  const ids: string[] = [];
  for (let count = 0; count < 7; count += 1) {
    const order = { customerId, items: [{ productId, quantity: 1n }] };
    ids.unshift((await shop.orders.createOrder({ requestId: randomUUID(), order })).order?.id ?? "");
  }
  await shop.orders.cancelOrder({ id: ids[2] ?? "" });
  const list = async (state: OrderState) => {
    const found: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await shop.orders.listOrders({ customerId, state, pageSize: 2, pageToken });
      found.push(...page.orders.map((order) => order.id));
      pageToken = page.nextPageToken;
      if (pageToken === "") return found;
    }
  };
  expect(await list(OrderState.UNSPECIFIED)).toEqual(ids);
  expect(await list(OrderState.CANCELLED)).toEqual([ids[2]]);
  expect(await list(OrderState.PENDING)).toEqual(ids.filter((_id, index) => index !== 2));
});

test("staff list the orders to ship, by payment state and fulfillment state, with page tokens of these filters", async () => {
  const customerId = await makeCustomer(shop);
  const unpaid = await placeOrder(shop, [1n], { customerId });
  const toShip = await placePaidOrder(shop, [2n], { customerId });
  const partly = await placePaidOrder(shop, [2n], { customerId });
  const items = [{ itemId: "1", quantity: 1n }];
  await shop.orders.shipOrder({ requestId: randomUUID(), id: partly.id, items });
  const shipped = await placePaidOrder(shop, [1n], { customerId });
  await shop.orders.shipOrder({ requestId: randomUUID(), id: shipped.id });
  const list = async (filter: { paymentState?: PaymentState; fulfillmentState?: FulfillmentState }) => {
    const { orders } = await shop.orders.listOrders({ customerId, ...filter });
    return orders.map(({ id }) => id);
  };
  const { UNFULFILLED, PARTIALLY_FULFILLED } = FulfillmentState;
  expect(await list({})).toEqual([shipped.id, partly.id, toShip.id, unpaid.id]);
  expect(await list({ paymentState: PaymentState.PAID, fulfillmentState: UNFULFILLED })).toEqual([toShip.id]);
  expect(await list({ fulfillmentState: UNFULFILLED })).toEqual([toShip.id, unpaid.id]);
  expect(await list({ fulfillmentState: PARTIALLY_FULFILLED })).toEqual([partly.id]);
  expect(await list({ paymentState: PaymentState.UNPAID })).toEqual([unpaid.id]);
  const filters = { customerId, paymentState: PaymentState.PAID };
  const { nextPageToken: pageToken } = await shop.orders.listOrders({ ...filters, pageSize: 1 });
  const second = await shop.orders.listOrders({ ...filters, pageSize: 1, pageToken });
  expect(second.orders.map(({ id }) => id)).toEqual([partly.id]);
  for (const other of [
    { customerId, pageToken },
    { ...filters, fulfillmentState: UNFULFILLED, pageToken },
  ]) {
    expect(await failureOf(shop.orders.listOrders(other))).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  }
});
