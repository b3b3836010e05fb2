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
import {
  orderOf,
  placeOrder,
  placePaidOrder,
  stockOfItems,
  unitsOf,
} from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("a shipment without items ships all open units, which leave the stock on hand and the reserved units", async () => {
  const paid = await placePaidOrder(shop, [3n, 2n]);
  expect(await stockOfItems(shop, paid)).toEqual([
    { onHand: 100, reserved: 3 },
    { onHand: 100, reserved: 2 },
  ]);
  const shipped = await shop.orders.shipOrder({
    requestId: randomUUID(),
    id: paid.id,
    etag: paid.etag,
    carrier: "Nordic Parcel",
    trackingNumber: "NP-1",
    trackingUri: "https://example.com/parcels/NP-1",
  });
  expect(shipped.order).toMatchObject({
    etag: "3",
    state: OrderState.CONFIRMED,
    fulfillmentState: FulfillmentState.FULFILLED,
    allowedTransitions: [OrderTransition.DELIVER, OrderTransition.RETURN_ITEMS, OrderTransition.REFUND],
  });
  expect(unitsOf(orderOf(shipped))).toEqual([
    [0, 3, 0],
    [0, 2, 0],
  ]);
  expect(shipped.fulfillment).toMatchObject({
    orderId: paid.id,
    items: [
      { itemId: "1", quantity: 3n },
      { itemId: "2", quantity: 2n },
    ],
    carrier: "Nordic Parcel",
    trackingNumber: "NP-1",
    trackingUri: "https://example.com/parcels/NP-1",
    state: ShipmentState.SHIPPED,
    events: [{ state: ShipmentState.SHIPPED }],
  });
  expect(shipped.fulfillment?.deliverTime).toBeUndefined();
  expect(await stockOfItems(shop, paid)).toEqual([
    { onHand: 97, reserved: 0 },
    { onHand: 98, reserved: 0 },
  ]);
  expect((await shop.orders.listFulfillments({ id: paid.id })).fulfillments).toEqual([shipped.fulfillment]);
  const { events } = await shop.orders.listOrderEvents({ id: paid.id, afterSequence: 2n });
  expect(events).toMatchObject([
    {
      sequence: 3n,
      type: OrderEventType.SHIPPED,
      fulfillmentState: FulfillmentState.FULFILLED,
      fulfillmentId: shipped.fulfillment?.id,
      items: shipped.fulfillment?.items,
    },
  ]);
});

test("an order is shipped in parts, and lists its fulfillments with the oldest first", async () => {
  const { id } = await placePaidOrder(shop, [3n, 2n]);
  const ship = (itemId: string, quantity: bigint) =>
    shop.orders.shipOrder({ requestId: randomUUID(), id, items: [{ itemId, quantity }] });
  const first = await ship("1", 2n);
  expect(first.order?.fulfillmentState).toBe(FulfillmentState.PARTIALLY_FULFILLED);
  expect(first.order?.allowedTransitions).toEqual([
    OrderTransition.SHIP,
    OrderTransition.DELIVER,
    OrderTransition.CANCEL_ITEMS,
    OrderTransition.RETURN_ITEMS,
    OrderTransition.REFUND,
  ]);
  const second = await ship("2", 2n);
  expect(second.order?.fulfillmentState).toBe(FulfillmentState.PARTIALLY_FULFILLED);
  const third = await shop.orders.shipOrder({ requestId: randomUUID(), id });
  expect(third.order?.fulfillmentState).toBe(FulfillmentState.FULFILLED);
  expect(third.fulfillment?.items).toMatchObject([{ itemId: "1", quantity: 1n }]);
  expect((await shop.orders.listFulfillments({ id })).fulfillments).toEqual([
    first.fulfillment,
    second.fulfillment,
    third.fulfillment,
  ]);
});

test("a repeat with the same request_id returns the first response, and ships nothing more", async () => {
  const order = await placePaidOrder(shop, [4n]);
  const request = { requestId: randomUUID(), id: order.id, items: [{ itemId: "1", quantity: 2n }] };
  const first = await shop.orders.shipOrder(request);
  await shop.orders.shipOrder({ ...request, requestId: randomUUID() });
  expect(await shop.orders.shipOrder(request)).toEqual(first);
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 96, reserved: 0 }]);
  const other = shop.orders.shipOrder({ ...request, items: [{ itemId: "1", quantity: 1n }] });
  expect(await failureOf(other)).toMatchObject({ code: "InvalidArgument", reason: "REQUEST_ID_REUSED" });
});

test("a shipment without request_id, or of an order that is not paid, is rejected", async () => {
  const { id } = await placeOrder(shop, [1n]);
  expect(await failureOf(shop.orders.shipOrder({ id }))).toMatchObject({
    code: "InvalidArgument",
    fields: ["request_id"],
  });
  expect(await failureOf(shop.orders.shipOrder({ id, requestId: randomUUID() }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
    metadata: {
      current_state: "PENDING",
      allowed_transitions: "CANCEL,MARK_PAID,CANCEL_ITEMS,SET_EXPIRE_TIME,PAY",
    },
  });
});

test("a shipment of more units than are left names each such item, and ships nothing", async () => {
  const order = await placePaidOrder(shop, [3n, 2n, 1n]);
  const items = [
    { itemId: "1", quantity: 4n },
    { itemId: "2", quantity: 2n },
    { itemId: "3", quantity: 10_000n },
  ];
  const failure = await failureOf(shop.orders.shipOrder({ requestId: randomUUID(), id: order.id, items }));
  expect(failure).toMatchObject({
    code: "FailedPrecondition",
    reason: "QUANTITY_TOO_LARGE",
    preconditions: ["QUANTITY", "QUANTITY"],
    message:
      "Too few units are left: item 1: 3 neither shipped nor cancelled, 4 requested; item 3: 1 neither shipped nor cancelled, 10000 requested. Nothing was changed.",
  });
  expect(await stockOfItems(shop, order)).toEqual([3, 2, 1].map((reserved) => ({ onHand: 100, reserved })));
});

test.each([
  ["an unknown item", [{ itemId: "3", quantity: 1n }], { code: "NotFound", reason: "ORDER_ITEM_NOT_FOUND" }],
  ["an item id with a leading zero", [{ itemId: "01", quantity: 1n }], { code: "NotFound" }],
  [
    "the same item twice",
    [
      { itemId: "1", quantity: 1n },
      { itemId: "2", quantity: 1n },
      { itemId: "1", quantity: 1n },
    ],
    { code: "InvalidArgument", reason: "INVALID_FIELD", fields: ["items[2].item_id"] },
  ],
  ["no unit", [{ itemId: "1", quantity: 0n }], { code: "InvalidArgument", fields: ["items[0].quantity"] }],
  ["negative units", [{ itemId: "1", quantity: -1n }], { code: "InvalidArgument" }],
  ["2^63 - 1 units", [{ itemId: "1", quantity: 2n ** 63n - 1n }], { code: "InvalidArgument" }],
  ["an item without id", [{ quantity: 1n }], { code: "InvalidArgument", fields: ["items[0].item_id"] }],
])("a shipment of %s is rejected", async (_name, items, expected) => {
  const order = await placePaidOrder(shop, [2n, 2n]);
  const call = shop.orders.shipOrder({ requestId: randomUUID(), id: order.id, items });
  expect(await failureOf(call)).toMatchObject(expected);
  expect((await shop.orders.getOrder({ id: order.id })).order).toEqual(order);
});

test("a tracking_uri of another scheme than http and https is rejected", async () => {
  const { id } = await placePaidOrder(shop, [1n]);
  for (const trackingUri of [
    "javascript:alert(1)",
    "data:text/html,x",
    "ftp://example.com/1",
    "x-http://a",
  ]) {
    const call = shop.orders.shipOrder({ requestId: randomUUID(), id, trackingUri });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", fields: ["tracking_uri"] });
  }
  const trackingUri = "http://example.com/parcels/1";
  const { fulfillment } = await shop.orders.shipOrder({ requestId: randomUUID(), id, trackingUri });
  expect(fulfillment?.trackingUri).toBe(trackingUri);
});

test("a shipment of another version, or of an unknown order, is rejected", async () => {
  const order = await placePaidOrder(shop, [1n]);
  const stale = shop.orders.shipOrder({ requestId: randomUUID(), id: order.id, etag: "1" });
  expect(await failureOf(stale)).toMatchObject({
    code: "Aborted",
    reason: "STALE_ETAG",
    metadata: { current_etag: "2" },
  });
  const unknown = shop.orders.shipOrder({ requestId: randomUUID(), id: randomUUID() });
  expect(await failureOf(unknown)).toMatchObject({ code: "NotFound", reason: "ORDER_NOT_FOUND" });
  const unlisted = shop.orders.listFulfillments({ id: randomUUID() });
  expect(await failureOf(unlisted)).toMatchObject({ code: "NotFound", reason: "ORDER_NOT_FOUND" });
});

test("an order has at most 100 fulfillments", async () => {
  const { id } = await placePaidOrder(shop, [101n], { stock: 1_000n });
  const shipOne = () =>
    shop.orders.shipOrder({ requestId: randomUUID(), id, items: [{ itemId: "1", quantity: 1n }] });
  for (let count = 0; count < 100; count += 1) await shipOne();
  expect(await failureOf(shipOne())).toMatchObject({
    code: "FailedPrecondition",
    reason: "FULFILLMENT_LIMIT_REACHED",
    preconditions: ["FULFILLMENTS"],
  });
  const first = await shop.orders.listFulfillments({ id, pageSize: 60 });
  const second = await shop.orders.listFulfillments({ id, pageSize: 60, pageToken: first.nextPageToken });
  expect([first.fulfillments.length, second.fulfillments.length, second.nextPageToken]).toEqual([60, 40, ""]);
  const { fulfillments } = await shop.orders.listFulfillments({ id, pageSize: 100 });
  expect([...first.fulfillments, ...second.fulfillments]).toEqual(fulfillments);
  expect(new Set(fulfillments.map((one) => one.id)).size).toBe(100);
});

test("of an order without shipments no fulfillment is listed", async () => {
  const { id } = await placeOrder(shop, [1n]);
  expect((await shop.orders.listFulfillments({ id })).fulfillments).toEqual([]);
});

test("texts of a shipment keep any script", async () => {
  const { id } = await placePaidOrder(shop, [1n]);
  const carrier = "خدمة البريد السريع 🚚";
  const { fulfillment } = await shop.json.orders.shipOrder({ requestId: randomUUID(), id, carrier });
  expect(fulfillment?.carrier).toBe(carrier);
});
