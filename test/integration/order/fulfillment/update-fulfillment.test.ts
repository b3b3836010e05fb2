import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Fulfillment } from "../../../../gen/cartwright/order/v1/fulfillment_pb.ts";
import { OrderActor } from "../../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import type { UpdateFulfillmentRequestSchema } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { clientsWithOrderToken } from "../../../support/orders/guest-callers.ts";
import { orderOf, payOrder } from "../../../support/orders/order-fixtures.ts";
import { watchOrder } from "../../../support/orders/watch/order-watcher.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let staff: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", GUEST_CHECKOUT: "on" });
  staff = await createAccount(shop, "STAFF");
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const TRACKING = {
  carrier: "Nordic Parcel",
  trackingNumber: "NP-1",
  trackingUri: "https://example.com/parcels/NP-1",
};

/** Ships one of two units of a guest's order. */
async function shipGuestOrder(): Promise<{ id: string; orderToken: string; fulfillment: Fulfillment }> {
  const productId = await makeProduct(staff, { stock: 10n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 2n }] } };
  const { order, orderToken } = await shop.orders.createOrder(request);
  const { id } = await payOrder(staff, orderOf({ order }));
  const items = [{ itemId: "1", quantity: 1n }];
  const shipment = { requestId: randomUUID(), id, items, ...TRACKING };
  const { fulfillment } = await staff.orders.shipOrder(shipment);
  if (fulfillment === undefined) throw new Error("the response has no fulfillment");
  return { id, orderToken, fulfillment };
}

/** Corrects a fulfillment as staff. */
const update = (
  { id, orderId }: Pick<Fulfillment, "id" | "orderId">,
  values: MessageInitShape<typeof UpdateFulfillmentRequestSchema>["fulfillment"],
  ...paths: string[]
) => staff.orders.updateFulfillment({ fulfillment: { ...values, id, orderId }, updateMask: { paths } });

const historyOf = async (id: string) => (await staff.orders.listOrderEvents({ id })).events;

test("a guest reads a fulfillment with its carrier and who has shipped it, but not the account", async () => {
  const { id, orderToken, fulfillment } = await shipGuestOrder();
  const key = { id: id.toUpperCase(), fulfillmentId: fulfillment.id.toUpperCase() };
  expect((await staff.orders.getFulfillment(key)).fulfillment).toEqual(fulfillment);
  expect(fulfillment).toMatchObject({
    ...TRACKING,
    etag: "1",
    events: [{ actor: OrderActor.STAFF, actorId: `account:${staff.accountId}` }],
  });
  const { orders } = clientsWithOrderToken(shop, orderToken);
  const { fulfillment: read } = await orders.getFulfillment(key);
  expect(read).toMatchObject({ ...TRACKING, events: [{ actor: OrderActor.STAFF, actorId: "" }] });
  expect((await orders.listFulfillments({ id })).fulfillments).toEqual([read]);
  const missing = orders.getFulfillment({ id, fulfillmentId: randomUUID() });
  expect(await failureOf(missing)).toMatchObject({ code: "NotFound", reason: "FULFILLMENT_NOT_FOUND" });
  const ofOther = orders.getFulfillment({ ...key, id: (await shipGuestOrder()).id });
  expect(await failureOf(ofOther)).toMatchObject({ code: "NotFound", reason: "ORDER_NOT_FOUND" });
});

test("a correction changes the fields of the mask, is one event of the order, and reaches its watcher", async () => {
  const { id, orderToken, fulfillment } = await shipGuestOrder();
  const watcher = watchOrder(clientsWithOrderToken(shop, orderToken), id);
  await expect.poll(() => watcher.sequences()).toEqual([1, 2, 3]);
  const before = orderOf(await staff.orders.getOrder({ id }));
  const values = { carrier: "ignored", trackingNumber: "NP-2", trackingUri: "" };
  const corrected = await update(fulfillment, values, "tracking_number", "tracking_uri");
  expect(corrected.fulfillment).toEqual({
    ...fulfillment,
    etag: "2",
    trackingNumber: "NP-2",
    trackingUri: "",
  });
  const { order } = corrected;
  expect(order).toEqual({ ...before, etag: "4", updateTime: order?.updateTime });
  await expect.poll(() => watcher.sequences()).toEqual([1, 2, 3, 4]);
  expect(watcher.messages.at(-1)).toMatchObject({
    events: [
      {
        type: OrderEventType.FULFILLMENT_CHANGED,
        actor: OrderActor.STAFF,
        actorId: "",
        state: OrderState.CONFIRMED,
        fulfillmentId: fulfillment.id,
        carrier: "Nordic Parcel",
        trackingNumber: "NP-2",
        trackingUri: "",
        items: [],
      },
    ],
    order: { etag: "4" },
  });
  const events = await historyOf(id);
  expect(events.slice(2)).toMatchObject([
    { type: OrderEventType.SHIPPED, ...TRACKING },
    { type: OrderEventType.FULFILLMENT_CHANGED, actorId: `account:${staff.accountId}` },
  ]);
});

test("a repeat changes nothing, also with an old etag, and an update of another version is rejected", async () => {
  const { id, fulfillment } = await shipGuestOrder();
  const first = await update(fulfillment, { carrier: "DHL", etag: fulfillment.etag });
  expect(await update(fulfillment, { carrier: "DHL", etag: fulfillment.etag })).toEqual(first);
  expect(await update(fulfillment, { carrier: "DHL", trackingNumber: "NP-1" })).toEqual(first);
  const stale = update(fulfillment, { carrier: "UPS", etag: fulfillment.etag });
  expect(await failureOf(stale)).toMatchObject({
    code: "Aborted",
    reason: "STALE_ETAG",
    metadata: { current_etag: "2" },
  });
  expect(await historyOf(id)).toHaveLength(4);
  const request = {
    requestId: randomUUID(),
    fulfillment: { id: fulfillment.id, orderId: id, carrier: "UPS", etag: "2" },
  };
  const { fulfillment: again } = await staff.orders.updateFulfillment(request);
  await update(fulfillment, { carrier: "DPD" });
  expect((await staff.orders.updateFulfillment(request)).fulfillment).toEqual(again);
  expect(await historyOf(id)).toHaveLength(6);
});

test("concurrent corrections of a version are one event, and those without an etag one each", async () => {
  const { id, fulfillment } = await shipGuestOrder();
  const carriers = ["a", "b", "c", "d"];
  const ofVersion = await Promise.allSettled(
    carriers.map((carrier) => update(fulfillment, { carrier, etag: "1" })),
  );
  expect(ofVersion.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await Promise.all(carriers.map((carrier) => update(fulfillment, { carrier: `${carrier}2` })));
  const events = (await historyOf(id)).slice(3);
  expect(events.map(({ sequence }) => sequence)).toEqual([4n, 5n, 6n, 7n, 8n]);
  const { fulfillment: last } = await staff.orders.getFulfillment({ id, fulfillmentId: fulfillment.id });
  expect(last).toMatchObject({ etag: "6", carrier: events.at(-1)?.carrier });
});

test("a delivered fulfillment of a completed order can be corrected, and keeps who has delivered it", async () => {
  const { id, fulfillment } = await shipGuestOrder();
  await staff.orders.cancelOrderItems({
    id,
    requestId: randomUUID(),
    items: [{ itemId: "1", quantity: 1n }],
  });
  await staff.orders.deliverOrder({ id, fulfillmentId: fulfillment.id });
  const { fulfillment: corrected, order } = await update(fulfillment, TRACKING_OF_UPS, "*");
  expect(order?.state).toBe(OrderState.COMPLETED);
  expect(corrected).toMatchObject({ ...TRACKING_OF_UPS, etag: "3" });
  const by = { actor: OrderActor.STAFF, actorId: `account:${staff.accountId}` };
  expect(corrected?.events).toMatchObject([by, by]);
});

const TRACKING_OF_UPS = { carrier: "UPS", trackingNumber: "1Z", trackingUri: "" };

test("validate_only returns the result and changes nothing", async () => {
  const { id, fulfillment } = await shipGuestOrder();
  const values = { id: fulfillment.id, orderId: id, carrier: "UPS" };
  const checked = await staff.orders.updateFulfillment({ fulfillment: values, validateOnly: true });
  expect(checked).toMatchObject({ order: { etag: "4" }, fulfillment: { carrier: "UPS", etag: "2" } });
  const read = await staff.orders.getFulfillment({ id, fulfillmentId: fulfillment.id });
  expect([read.fulfillment, await historyOf(id)]).toMatchObject([fulfillment, { length: 3 }]);
});

test("an update without ids, of another field or of an unknown fulfillment is rejected", async () => {
  const { id, fulfillment } = await shipGuestOrder();
  const { fulfillment: ofOther } = await shipGuestOrder();
  const key = { id: fulfillment.id, orderId: id };
  const failures = [
    update({ id: "", orderId: "" }, { carrier: "UPS" }),
    update(key, { carrier: "UPS" }, "order_id"),
    update(key, { etag: "1" }),
    update(key, {}, "items"),
    update({ ...key, id: ofOther.id }, { carrier: "UPS" }),
    update({ ...key, orderId: randomUUID() }, { carrier: "UPS" }),
  ].map(failureOf);
  expect((await Promise.all(failures)).map(({ code, reason, fields }) => [code, reason, fields])).toEqual([
    ["InvalidArgument", "FIELD_REQUIRED", ["fulfillment.id", "fulfillment.order_id"]],
    ["InvalidArgument", "INVALID_FIELD", ["update_mask"]],
    ["InvalidArgument", "INVALID_FIELD", ["update_mask"]],
    ["InvalidArgument", "INVALID_FIELD", ["update_mask"]],
    ["NotFound", "FULFILLMENT_NOT_FOUND", []],
    ["NotFound", "ORDER_NOT_FOUND", []],
  ]);
  expect(await historyOf(id)).toHaveLength(3);
});
