import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { placeOrder } from "../../support/orders/order-fixtures.ts";
import { type Clients, startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

type Call = (clients: Clients, text: string) => Promise<unknown>;

const id = randomUUID();
const key = { id, requestId: randomUUID() };
const fulfillment = { id, orderId: id };
const items = [{ itemId: "1", quantity: 1n }];

const lines: [field: string, call: Call][] = [
  ["carrier", ({ orders }, carrier) => orders.shipOrder({ ...key, carrier })],
  ["tracking_number", ({ orders }, trackingNumber) => orders.shipOrder({ ...key, trackingNumber })],
  [
    "fulfillment.carrier",
    ({ orders }, carrier) => orders.updateFulfillment({ fulfillment: { ...fulfillment, carrier } }),
  ],
  [
    "fulfillment.tracking_number",
    ({ orders }, trackingNumber) =>
      orders.updateFulfillment({ fulfillment: { ...fulfillment, trackingNumber } }),
  ],
  [
    "reference",
    ({ orders }, reference) =>
      orders.markOrderPaid({
        ...key,
        amount: { currencyCode: "EUR", minorUnits: 1n },
        method: PaymentMethod.CASH,
        reference,
      }),
  ],
];

const controls: [name: string, character: string][] = [
  ["an escape", "\u001b"],
  ["a line feed", "\n"],
  ["a carriage return", "\r"],
  ["a tab", "\t"],
  ["a delete", "\u007f"],
  ["a next line", "\u0085"],
  ["a line separator", "\u2028"],
  ["a paragraph separator", "\u2029"],
];

describe.each(lines)("the field %s, which is one line,", (field, call) => {
  test.each(controls)("is rejected with %s", async (_, character) => {
    expect(await failureOf(call(shop, `a${character}b`))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_REQUEST",
      message: `${field}: must not contain line breaks or control characters`,
    });
  });

  test("accepts text in any script", async () => {
    // The order does not exist, which is found after the validation.
    expect(await failureOf(call(shop, "Порту 特急 \u200fשליח\u200f 🚚"))).toMatchObject({ code: "NotFound" });
  });
});

test.each(["\u001b", "\n", "\t", "\u0085", "\u2028"])(
  "the address of a tracking page with the character %j is rejected",
  async (character) => {
    const trackingUri = `https://example.com/${character}a`;
    const calls = [
      shop.orders.shipOrder({ ...key, trackingUri }),
      shop.orders.updateFulfillment({ fulfillment: { ...fulfillment, trackingUri } }),
    ];
    const failures = await Promise.all(calls.map(failureOf));
    expect(failures.map(({ code, fields }) => [code, fields])).toEqual([
      ["InvalidArgument", ["tracking_uri"]],
      ["InvalidArgument", ["fulfillment.tracking_uri"]],
    ]);
  },
);

const reasons: [method: string, call: Call][] = [
  ["CancelOrder", ({ orders }, reason) => orders.cancelOrder({ id, reason })],
  ["CancelOrderItems", ({ orders }, reason) => orders.cancelOrderItems({ ...key, items, reason })],
  ["ReturnOrderItems", ({ orders }, reason) => orders.returnOrderItems({ ...key, items, reason })],
  [
    "SetOrderExpireTime",
    ({ orders }, reason) => orders.setOrderExpireTime({ id, neverExpires: true, reason }),
  ],
];

test.each(reasons)("%s rejects control characters in its reason", async (_, call) => {
  for (const character of ["\u001b", "\b", "\u007f", "\u0085"]) {
    expect(await failureOf(call(shop, `a${character}b`))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_REQUEST",
      message: "reason: must not contain control characters except tabs and line breaks",
    });
  }
});

test("a reason of several lines is recorded as it is", async () => {
  const order = await placeOrder(shop, [1n]);
  const reason = "Too late.\r\n\t- Порту 🚚\u2028end";
  await shop.orders.cancelOrder({ id: order.id, reason });
  const { events } = await shop.orders.listOrderEvents({ id: order.id });
  expect(events.at(-1)?.reason).toBe(reason);
});
