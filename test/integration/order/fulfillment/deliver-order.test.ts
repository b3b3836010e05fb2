import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ShipmentState } from "../../../../gen/cartwright/order/v1/fulfillment_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  FulfillmentState,
  OrderState,
  OrderTransition,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { orderOf, placePaidOrder } from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

async function ship(id: string, itemId: string, quantity: bigint): Promise<string> {
  const request = { requestId: randomUUID(), id, items: [{ itemId, quantity }] };
  const { fulfillment } = await shop.orders.shipOrder(request);
  return fulfillment?.id ?? "";
}

test("an order is delivered and completed when all units are shipped and all fulfillments are delivered", async () => {
  const { id } = await placePaidOrder(shop, [2n, 1n]);
  const first = await ship(id, "1", 2n);
  const partly = await shop.orders.deliverOrder({ id, fulfillmentId: first });
  expect(partly.order?.fulfillmentState).toBe(FulfillmentState.PARTIALLY_FULFILLED);
  const second = await ship(id, "2", 1n);
  expect((await shop.orders.getOrder({ id })).order?.fulfillmentState).toBe(FulfillmentState.FULFILLED);
  const { order } = await shop.orders.deliverOrder({ id, fulfillmentId: second.toUpperCase() });
  expect(order).toMatchObject({
    state: OrderState.COMPLETED,
    fulfillmentState: FulfillmentState.DELIVERED,
    allowedTransitions: [OrderTransition.RETURN_ITEMS, OrderTransition.REFUND],
    etag: "6",
  });
  const { fulfillments } = await shop.orders.listFulfillments({ id });
  expect(fulfillments.map(({ state, events }) => [state, events.map((event) => event.state)])).toEqual(
    Array.from({ length: 2 }, () => [
      ShipmentState.DELIVERED,
      [ShipmentState.SHIPPED, ShipmentState.DELIVERED],
    ]),
  );
  expect(fulfillments[1]?.deliverTime).toEqual(order?.updateTime);
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 2n });
  expect(events.map(({ type, fulfillmentId }) => [type, fulfillmentId])).toEqual([
    [OrderEventType.SHIPPED, first],
    [OrderEventType.DELIVERED, first],
    [OrderEventType.SHIPPED, second],
    [OrderEventType.DELIVERED, second],
  ]);
});

test("a call without fulfillment_id delivers all fulfillments by one change", async () => {
  const { id } = await placePaidOrder(shop, [2n, 1n]);
  await ship(id, "1", 1n);
  await ship(id, "1", 1n);
  await ship(id, "2", 1n);
  const { order } = await shop.orders.deliverOrder({ id, etag: "5" });
  expect(order).toMatchObject({ etag: "6", fulfillmentState: FulfillmentState.DELIVERED });
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 5n });
  expect(events).toMatchObject([
    {
      type: OrderEventType.DELIVERED,
      fulfillmentId: "",
      items: [
        { itemId: "1", quantity: 2n },
        { itemId: "2", quantity: 1n },
      ],
    },
  ]);
});

test("a repeated delivery changes nothing, also with an old etag, and never turns an order back", async () => {
  const { id } = await placePaidOrder(shop, [1n, 1n]);
  const first = await ship(id, "1", 1n);
  const delivered = await shop.orders.deliverOrder({ id, fulfillmentId: first });
  expect(await shop.orders.deliverOrder({ id, fulfillmentId: first, etag: "1" })).toEqual(delivered);
  expect(await shop.orders.deliverOrder({ id, etag: "1" })).toEqual(delivered);
  await ship(id, "2", 1n);
  const { order } = await shop.orders.deliverOrder({ id, requestId: randomUUID() });
  expect(order?.fulfillmentState).toBe(FulfillmentState.DELIVERED);
  const late = await Promise.all([
    shop.orders.deliverOrder({ id, fulfillmentId: first, etag: "1" }),
    shop.orders.deliverOrder({ id, etag: "1" }),
  ]);
  expect(late.map((response) => response.order)).toEqual([order, order]);
});

test("a delivery before a shipment, of another version or of an unknown fulfillment is rejected", async () => {
  const { id } = await placePaidOrder(shop, [2n]);
  expect(await failureOf(shop.orders.deliverOrder({ id, etag: "2" }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    metadata: { allowed_transitions: "CANCEL,SHIP,CANCEL_ITEMS,REFUND" },
  });
  const fulfillmentId = await ship(id, "1", 1n);
  const other = await placePaidOrder(shop, [1n]);
  const otherId = await ship(other.id, "1", 1n);
  expect(await failureOf(shop.orders.deliverOrder({ id, fulfillmentId: otherId }))).toMatchObject({
    code: "NotFound",
    reason: "FULFILLMENT_NOT_FOUND",
  });
  expect(await failureOf(shop.orders.deliverOrder({ id, fulfillmentId, etag: "2" }))).toMatchObject({
    code: "Aborted",
    reason: "STALE_ETAG",
  });
  const unknown = shop.orders.deliverOrder({ id: randomUUID(), etag: "2" });
  expect(await failureOf(unknown)).toMatchObject({ code: "NotFound", reason: "ORDER_NOT_FOUND" });
});

test("a repeat with the same request_id returns the first response, also after a further change", async () => {
  const { id } = await placePaidOrder(shop, [2n]);
  const fulfillmentId = await ship(id, "1", 1n);
  const request = { requestId: randomUUID(), id, fulfillmentId };
  const first = await shop.orders.deliverOrder(request);
  await ship(id, "1", 1n);
  expect(orderOf(await shop.orders.deliverOrder(request))).toEqual(first.order);
});

test("a repeat of a delivery of all fulfillments does not deliver what was shipped since", async () => {
  const { id } = await placePaidOrder(shop, [2n]);
  await ship(id, "1", 1n);
  const unknown = shop.orders.deliverOrder({ id });
  expect(await failureOf(unknown)).toMatchObject({
    code: "InvalidArgument",
    reason: "FIELD_REQUIRED",
    fields: ["fulfillment_id"],
  });
  const byVersion = { id, etag: "3" };
  const byRequest = { id, requestId: randomUUID() };
  const first = await shop.orders.deliverOrder(byVersion);
  expect(await shop.orders.deliverOrder(byRequest)).toEqual(first);
  await ship(id, "1", 1n);
  expect(await failureOf(shop.orders.deliverOrder(byVersion))).toMatchObject({ reason: "STALE_ETAG" });
  expect(await shop.orders.deliverOrder(byRequest)).toEqual(first);
  const { fulfillments } = await shop.orders.listFulfillments({ id });
  expect(fulfillments.map(({ state }) => state)).toEqual([ShipmentState.DELIVERED, ShipmentState.SHIPPED]);
});
