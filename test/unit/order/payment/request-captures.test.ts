import fc from "fast-check";
import { expect, test } from "vitest";
import { openUnits, withUnits } from "../../../../src/order/change/item-units.ts";
import { completeOrder, payableAmount } from "../../../../src/order/complete-order.ts";
import type { Order } from "../../../../src/order/order.ts";
import { captureDue } from "../../../../src/order/payment/request/request-captures.ts";
import { type OrderInput, orderOf } from "../../../support/orders/refund-fixtures.ts";

const EUR = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

/** Returns an order that is authorized. */
function authorizedOrder(input: OrderInput): Order {
  return completeOrder({
    ...orderOf(input),
    id: "order",
    customerId: "",
    paymentState: "AUTHORIZED",
    fulfillmentState: "UNFULFILLED",
    closing: "NONE",
    paid: EUR(0n),
    refunded: EUR(0n),
    promotionId: "",
    salesRecorded: false,
    shippingAddress: undefined,
    billingAddress: undefined,
    email: "",
    note: "",
    shippingOption: undefined,
    etag: "1",
    createTime: new Date(0),
    updateTime: new Date(0),
    expireTime: undefined,
  });
}

type Field = "fulfilledQuantity" | "cancelledQuantity";

/** Ships or cancels a unit of an item, if one is open. */
function takeUnit(order: Order, itemId: string, field: Field): Order {
  const unit = openUnits(order).find(({ item }) => item.id === itemId);
  if (unit === undefined) return order;
  return completeOrder({ ...order, items: withUnits(order.items, [{ ...unit, quantity: 1n }], field) });
}

/** Captures what is due. */
function capture(order: Order, capturesInParts: boolean): { order: Order; amount: bigint } {
  const amount = captureDue(order, capturesInParts);
  return { amount, order: completeOrder({ ...order, paid: EUR(order.paid.minorUnits + amount) }) };
}

test("each shipment captures its units, the first one the shipping too, and the last one the rest", () => {
  let order = authorizedOrder({
    lines: [
      { unitPrice: 1_000n, quantity: 2n, tax: 0n },
      { unitPrice: 500n, quantity: 1n, tax: 0n },
    ],
    shipping: 490n,
    discount: -100n,
  });
  const amounts: bigint[] = [];
  for (const itemId of ["1", "2", "1"]) {
    const captured = capture(takeUnit(order, itemId, "fulfilledQuantity"), true);
    amounts.push(captured.amount);
    order = captured.order;
  }
  expect(amounts).toEqual([1_450n, 480n, 960n]);
});

test("cancelled units lower no capture of others", () => {
  const lines = [
    { unitPrice: 1_000n, quantity: 2n, tax: 0n },
    { unitPrice: 500n, quantity: 1n, tax: 0n },
  ];
  const order = takeUnit(authorizedOrder({ lines }), "2", "cancelledQuantity");
  expect(captureDue(takeUnit(order, "1", "fulfilledQuantity"), true)).toBe(1_000n);
});

test("shipped units cost no minor unit more when the others are cancelled after their capture", () => {
  let order = authorizedOrder({ lines: [{ unitPrice: 0n, quantity: 4n, tax: 510n }] });
  for (const field of ["fulfilledQuantity", "fulfilledQuantity"] as const) {
    order = capture(takeUnit(order, "1", field), true).order;
  }
  for (const field of ["cancelledQuantity", "cancelledQuantity"] as const) {
    order = takeUnit(order, "1", field);
  }
  expect(capture(order, true).order.paid.minorUnits).toBe(payableAmount(order));
});

test("a gateway that captures once captures all that is due with the first shipment", () => {
  const order = authorizedOrder({ lines: [{ unitPrice: 1_000n, quantity: 2n, tax: 0n }], shipping: 490n });
  const { amount, order: after } = capture(takeUnit(order, "1", "fulfilledQuantity"), false);
  expect(amount).toBe(2_490n);
  expect(captureDue(takeUnit(after, "1", "fulfilledQuantity"), false)).toBe(0n);
});

test("whatever is shipped and cancelled in which order, what is captured is exactly what the order costs", () => {
  const line = fc.record({
    unitPrice: fc.bigInt(0n, 10_000n),
    quantity: fc.bigInt(1n, 4n),
    tax: fc.bigInt(0n, 999n),
  });
  const step = fc.record({
    item: fc.nat({ max: 2 }),
    field: fc.constantFrom<Field>("fulfilledQuantity", "fulfilledQuantity", "cancelledQuantity"),
  });
  const input = fc.record({
    lines: fc.array(line, { minLength: 1, maxLength: 3 }),
    isTaxIncluded: fc.boolean(),
    shipping: fc.bigInt(0n, 999n),
    shippingTax: fc.bigInt(0n, 99n),
    discountPercent: fc.constantFrom(0n, 0n, 10n, 50n),
  });
  fc.assert(
    fc.property(input, fc.array(step, { maxLength: 20 }), ({ discountPercent, ...content }, steps) => {
      const subtotal = content.lines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0n);
      let order = authorizedOrder({ ...content, discount: (-subtotal * discountPercent) / 100n });
      // The steps are followed by the shipment of all units that are left.
      const rest = order.items.flatMap(({ quantity }, item) =>
        Array.from({ length: Number(quantity) }, () => ({ item, field: "fulfilledQuantity" as const })),
      );
      for (const { item, field } of [...steps, ...rest]) {
        order = takeUnit(order, String(item + 1), field);
        if (order.items.every(({ fulfilledQuantity }) => fulfilledQuantity === 0n)) continue;
        const { amount, order: after } = capture(order, true);
        expect(amount >= 0n && amount <= order.amountDue.minorUnits).toBe(true);
        order = after;
      }
      const isShipped = order.items.some(({ fulfilledQuantity }) => fulfilledQuantity > 0n);
      if (isShipped) expect(order.amountDue.minorUnits).toBe(0n);
      // The discount stays as it is when units are cancelled: the others, which are captured, may then have cost too much.
      if (isShipped && discountPercent === 0n) expect(order.paid.minorUnits).toBe(payableAmount(order));
    }),
    { numRuns: 5_000 },
  );
});
