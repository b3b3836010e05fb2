import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderState } from "../../../gen/cartwright/order/v1/order_pb.ts";
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
