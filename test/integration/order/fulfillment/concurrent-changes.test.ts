import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { FulfillmentState, type Order, OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
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

const CALLS = 10;
const items = [{ itemId: "1", quantity: 1n }];

const shipOne = (id: string) => shop.orders.shipOrder({ requestId: randomUUID(), id, items });
const cancelOne = (id: string) => shop.orders.cancelOrderItems({ requestId: randomUUID(), id, items });
const returnOne = (id: string) =>
  shop.orders.returnOrderItems({ requestId: randomUUID(), id, items, restock: true });

/** Makes ten calls of each method concurrently. Returns the number of each outcome. */
async function race(...methods: (() => Promise<unknown>)[]): Promise<Record<string, number>[]> {
  const outcomes = await Promise.all(
    Array.from({ length: CALLS }, () =>
      methods.map(async (method) => {
        const call = method();
        return call.then(
          () => "OK",
          () => failureOf(call).then(({ reason = "" }) => reason),
        );
      }),
    ).map((calls) => Promise.all(calls)),
  );
  return methods.map((_, index) => {
    const counts: Record<string, number> = {};
    for (const results of outcomes) {
      const outcome = results[index] ?? "";
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    }
    return counts;
  });
}

async function read(id: string): Promise<Order> {
  return orderOf(await shop.orders.getOrder({ id }));
}

test("of cancellations and shipments of an order, either all cancellations succeed or one shipment does", async () => {
  const { id } = await placePaidOrder(shop, [3n]);
  const [cancelled, shipped] = await race(
    () => shop.orders.cancelOrder({ id }),
    () => shop.orders.shipOrder({ requestId: randomUUID(), id }),
  );
  const after = await read(id);
  if (after.state === OrderState.CANCELLED) {
    expect([cancelled, shipped]).toEqual([{ OK: CALLS }, { ORDER_STATE: CALLS }]);
    expect(await stockOfItems(shop, after)).toEqual([{ onHand: 100, reserved: 0 }]);
  } else {
    expect([cancelled, shipped]).toEqual([{ ORDER_STATE: CALLS }, { OK: 1, ORDER_STATE: CALLS - 1 }]);
    expect(await stockOfItems(shop, after)).toEqual([{ onHand: 97, reserved: 0 }]);
  }
  expect(after.etag).toBe("3");
});

test("of shipments of the same item, as many succeed as units are left", async () => {
  const { id } = await placePaidOrder(shop, [5n, 1n]);
  const [shipped] = await race(() => shipOne(id));
  expect(shipped).toEqual({ OK: 5, QUANTITY_TOO_LARGE: 5 });
  const after = await read(id);
  expect(unitsOf(after)).toEqual([
    [0, 5, 0],
    [0, 0, 0],
  ]);
  expect((await shop.orders.listFulfillments({ id })).fulfillments).toHaveLength(5);
});

test("of returns of the same item, as many succeed as units are shipped", async () => {
  const { id } = await placePaidOrder(shop, [5n, 1n]);
  await shop.orders.shipOrder({ requestId: randomUUID(), id });
  const [returned] = await race(() => returnOne(id));
  expect(returned).toEqual({ OK: 5, QUANTITY_TOO_LARGE: 5 });
  const after = await read(id);
  expect(unitsOf(after)).toEqual([
    [0, 5, 5],
    [0, 1, 0],
  ]);
  expect(await stockOfItems(shop, after)).toEqual([
    { onHand: 100, reserved: 0 },
    { onHand: 99, reserved: 0 },
  ]);
});

test("of cancellations and shipments of units of an item, as many succeed as there are units", async () => {
  const { id } = await placePaidOrder(shop, [BigInt(CALLS), 1n]);
  const [cancelled, shipped] = await race(
    () => cancelOne(id),
    () => shipOne(id),
  );
  const [units] = unitsOf(await read(id));
  expect(units).toEqual([cancelled?.OK ?? 0, shipped?.OK ?? 0, 0]);
  expect((cancelled?.OK ?? 0) + (shipped?.OK ?? 0)).toBe(CALLS);
  expect((cancelled?.QUANTITY_TOO_LARGE ?? 0) + (shipped?.QUANTITY_TOO_LARGE ?? 0)).toBe(CALLS);
});

test("of deliveries and returns of an order all succeed, and it is delivered by one event", async () => {
  const { id } = await placePaidOrder(shop, [BigInt(CALLS)]);
  await shop.orders.shipOrder({ requestId: randomUUID(), id });
  const outcomes = await race(
    () => shop.orders.deliverOrder({ requestId: randomUUID(), id }),
    () => returnOne(id),
  );
  expect(outcomes).toEqual([{ OK: CALLS }, { OK: CALLS }]);
  const after = await read(id);
  expect(after.fulfillmentState).toBe(FulfillmentState.DELIVERED);
  expect(unitsOf(after)).toEqual([[0, CALLS, CALLS]]);
  const { events } = await shop.orders.listOrderEvents({ id, pageSize: 100 });
  expect(events.filter(({ type }) => type === OrderEventType.DELIVERED)).toHaveLength(1);
  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => BigInt(index + 1)));
});
