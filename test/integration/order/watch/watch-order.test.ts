import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderEventType, PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { type OrderChanger, openOrderChanger } from "../../../support/orders/watch/order-changer.ts";
import { upTo, watchOrder } from "../../../support/orders/watch/order-watcher.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

const CONCURRENT = 20;

let shop: TestShop;
let changer: OrderChanger;
beforeAll(async () => {
  shop = await startShop();
  changer = await openOrderChanger(shop.database.url);
});
afterAll(async () => {
  await changer.close();
  await shop.close();
});

async function placeOrder(): Promise<string> {
  const productId = await makeProduct(shop, { stock: 10n });
  const order = { items: [{ productId, quantity: 1n }] };
  const { order: placed } = await shop.orders.createOrder({ requestId: randomUUID(), order });
  return placed?.id ?? "";
}

test("a watcher gets the history and the order, then each change, and the end with the cancellation", async () => {
  const id = await placeOrder();
  const watcher = watchOrder(shop, id);
  await expect.poll(() => watcher.sequences()).toEqual([1]);
  await shop.orders.markOrderPaid({
    id,
    requestId: randomUUID(),
    amount: { currencyCode: "EUR", minorUnits: 1_000n },
    method: PaymentMethod.CASH,
    reference: "receipt 1",
  });
  await expect.poll(() => watcher.sequences()).toEqual([1, 2]);
  const { order: cancelled } = await shop.orders.cancelOrder({ id, reason: "too late" });
  await expect.poll(() => watcher.outcome()).toBe("OK");
  expect(watcher.messages.map(({ events, order }) => [events.map(({ type }) => type), order?.state])).toEqual(
    [
      [[OrderEventType.PLACED], OrderState.PENDING],
      [[OrderEventType.PAID], OrderState.CONFIRMED],
      [[OrderEventType.CANCELLED], OrderState.CANCELLED],
    ],
  );
  expect(watcher.messages.at(-1)?.order).toEqual(cancelled);
  const { events } = await shop.orders.listOrderEvents({ id });
  expect(watcher.messages.flatMap((message) => message.events)).toEqual(events);
});

test("a watcher of an order that has ended gets one message and the end", async () => {
  const id = await placeOrder();
  await shop.orders.cancelOrder({ id });
  for (const [after, sequences] of [
    [0, [1, 2]],
    [1, [2]],
    [2, []],
  ] as const) {
    const watcher = watchOrder(shop, id, after);
    await expect.poll(() => watcher.outcome()).toBe("OK");
    expect(watcher.sequences()).toEqual(sequences);
    expect(watcher.messages.map(({ order }) => order?.state)).toEqual([OrderState.CANCELLED]);
  }
});

test("watchers get every event of concurrent changes once, in order, whenever they start", async () => {
  const id = await placeOrder();
  const watchers = [watchOrder(shop, id)];
  const last = CONCURRENT + 1;
  await Promise.all(
    upTo(CONCURRENT).map(async (change) => {
      await changer.change(id, `change ${change}`);
      watchers.push(watchOrder(shop, id, change % 3 === 0 ? 1 : 0));
    }),
  );
  await shop.orders.cancelOrder({ id });
  for (const [index, watcher] of watchers.entries()) {
    await expect.poll(() => watcher.outcome()).toBe("OK");
    const first = watcher.sequences()[0] ?? 0;
    expect(watcher.sequences(), `watcher ${index}`).toEqual(upTo(last + 1).slice(first - 1));
    for (const { events, order } of watcher.messages) {
      expect(String(events.at(-1)?.sequence), "the order is that after the events").toBe(order?.etag);
    }
  }
});

test("a watch of a missing order, and one after a sequence that the order has not reached, are rejected", async () => {
  const id = await placeOrder();
  const first = async (request: { id: string; afterSequence?: bigint }) => {
    for await (const message of shop.orders.watchOrder(request)) return message;
  };
  expect(await failureOf(first({ id: randomUUID() }))).toMatchObject({
    code: "NotFound",
    reason: "ORDER_NOT_FOUND",
  });
  for (const afterSequence of [2n, 2n ** 31n - 1n]) {
    expect(await failureOf(first({ id, afterSequence }))).toMatchObject({
      code: "InvalidArgument",
      reason: "SEQUENCE_TOO_LARGE",
    });
  }
  for (const afterSequence of [-1n, 2n ** 31n]) {
    expect(await failureOf(first({ id, afterSequence }))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_REQUEST",
    });
  }
  expect((await first({ id: id.toUpperCase(), afterSequence: 1n }))?.order?.etag).toBe("1");
});
