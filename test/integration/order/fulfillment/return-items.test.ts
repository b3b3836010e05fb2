import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  FulfillmentState,
  type Order,
  OrderState,
  OrderTransition,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { orderOf, placePaidOrder, stockOfItems, unitsOf } from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

async function shippedOrder(quantities: readonly bigint[], stock?: bigint): Promise<Order> {
  const { id } = await placePaidOrder(shop, quantities, stock === undefined ? {} : { stock });
  return orderOf(await shop.orders.shipOrder({ requestId: randomUUID(), id }));
}

async function returnItems(
  { id }: Pick<Order, "id">,
  units: readonly (readonly [itemId: string, quantity: bigint])[],
  options: { restock?: boolean; reason?: string } = {},
): Promise<Order> {
  const items = units.map(([itemId, quantity]) => ({ itemId, quantity }));
  return orderOf(await shop.orders.returnOrderItems({ requestId: randomUUID(), id, items, ...options }));
}

async function inventoryReasons({ items }: Order): Promise<string[]> {
  const rows = await shop.database.query<{ reason: string }>(
    "select reason from stock_movement where product_id = $1 order by id",
    [items[0]?.productId],
  );
  return rows.map(({ reason }) => reason);
}

test("returned units that are restocked are on hand again; the states of the order stay", async () => {
  const order = await shippedOrder([3n, 2n]);
  await shop.orders.deliverOrder({ requestId: randomUUID(), id: order.id });
  const after = await returnItems(order, [["1", 1n]], { restock: true, reason: "too small" });
  expect(after).toMatchObject({
    etag: "5",
    state: OrderState.COMPLETED,
    fulfillmentState: FulfillmentState.DELIVERED,
    allowedTransitions: [OrderTransition.RETURN_ITEMS, OrderTransition.REFUND],
  });
  expect(unitsOf(after)).toEqual([
    [0, 3, 1],
    [0, 2, 0],
  ]);
  expect(await stockOfItems(shop, order)).toEqual([
    { onHand: 98, reserved: 0 },
    { onHand: 98, reserved: 0 },
  ]);
  expect(await inventoryReasons(order)).toEqual(["INITIAL", "ORDER", "SHIP", "ORDER_RETURN"]);
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 4n });
  expect(events).toMatchObject([
    {
      type: OrderEventType.ITEMS_RETURNED,
      reason: "too small",
      restocked: true,
      items: [{ itemId: "1", quantity: 1n }],
    },
  ]);
});

test("returned units that are not restocked change no stock, and lower the units sold", async () => {
  const order = await shippedOrder([3n]);
  await returnItems(order, [["1", 2n]]);
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 97, reserved: 0 }]);
  expect(await inventoryReasons(order)).toEqual(["INITIAL", "ORDER", "SHIP"]);
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 3n });
  expect(events).toMatchObject([{ restocked: false }]);
  await expect
    .poll(() =>
      shop.database.query("select purchase_count::int as units from product_sales where product_id = $1", [
        order.items[0]?.productId,
      ]),
    )
    .toEqual([{ units: 1 }]);
});

test("units can be returned once, in parts, until none is left", async () => {
  const order = await shippedOrder([3n]);
  await returnItems(order, [["1", 1n]], { restock: true });
  expect(await failureOf(returnItems(order, [["1", 3n]], { restock: true }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "QUANTITY_TOO_LARGE",
    message: "Too few units are left: item 1: 2 shipped and not returned, 3 requested. Nothing was changed.",
  });
  const after = await returnItems(order, [["1", 2n]], { restock: true });
  expect(after.allowedTransitions).toEqual([OrderTransition.DELIVER, OrderTransition.REFUND]);
  expect(await failureOf(returnItems(order, [["1", 1n]]))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    metadata: { allowed_transitions: "DELIVER,REFUND" },
  });
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
});

test("a return makes a product that was sold out available again, but only if it is restocked", async () => {
  const order = await shippedOrder([2n], 2n);
  const isInStock = async () => {
    const [row] = await shop.database.query<{ in_stock: boolean }>(
      "select in_stock from product where id = $1",
      [order.items[0]?.productId],
    );
    return row?.in_stock;
  };
  await returnItems(order, [["1", 1n]]);
  expect(await isInStock()).toBe(false);
  await returnItems(order, [["1", 1n]], { restock: true });
  expect(await isInStock()).toBe(true);
});

test("a return that would exceed the maximum stock is rejected, and changes nothing", async () => {
  const order = await shippedOrder([2n]);
  const productId = order.items[0]?.productId ?? "";
  await shop.catalog.adjustStock({
    requestId: randomUUID(),
    productId,
    delta: 2_000_000_000n - 98n,
    reason: StockReason.RECEIVED,
  });
  expect(await failureOf(returnItems(order, [["1", 1n]], { restock: true }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "STOCK_TOO_LARGE",
  });
  expect((await shop.orders.getOrder({ id: order.id })).order).toEqual(order);
});

test("a repeat with the same request_id returns no more units", async () => {
  const order = await shippedOrder([3n]);
  const request = {
    requestId: randomUUID(),
    id: order.id,
    items: [{ itemId: "1", quantity: 1n }],
    restock: true,
  };
  const first = await shop.orders.returnOrderItems(request);
  expect(await shop.orders.returnOrderItems(request)).toEqual(first);
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 98, reserved: 0 }]);
  expect(await failureOf(shop.orders.returnOrderItems({ ...request, restock: false }))).toMatchObject({
    reason: "REQUEST_ID_REUSED",
  });
});

test("a return before a shipment is rejected", async () => {
  const order = await placePaidOrder(shop, [1n]);
  expect(await failureOf(returnItems(order, [["1", 1n]]))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    metadata: { allowed_transitions: "CANCEL,SHIP,CANCEL_ITEMS,REFUND" },
  });
});
