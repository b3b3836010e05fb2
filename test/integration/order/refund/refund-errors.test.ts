import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  amount,
  type FurtherFields,
  placeCapturedOrder,
  type RefundSubject,
  refund,
  units,
} from "../../../support/payments/refund-requests.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  // No worker: the requests to the gateway stay open.
  shop = await startShop({ WORKERS: "0" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const invalidRequests: readonly [string, string, RefundSubject, FurtherFields][] = [
  ["FailedPrecondition", "REFUND_TOO_LARGE", amount(2_501n), {}],
  ["FailedPrecondition", "NOTHING_TO_REFUND", amount(0n), {}],
  ["FailedPrecondition", "QUANTITY_TOO_LARGE", units({ 1: 3n }), {}],
  ["FailedPrecondition", "ORDER_STATE", units({ 1: 1n }), { returnItems: true }],
  ["NotFound", "ORDER_ITEM_NOT_FOUND", units({ 2: 1n }), {}],
  ["NotFound", "PAYMENT_NOT_FOUND", amount(1n), { paymentId: randomUUID() }],
  ["Aborted", "STALE_ETAG", amount(1n), { etag: "1" }],
  ["InvalidArgument", "FIELD_REQUIRED", { case: undefined }, {}],
  ["InvalidArgument", "FIELD_REQUIRED", { case: "shipping", value: false }, {}],
  ["InvalidArgument", "INVALID_FIELD", amount(1n, "USD"), {}],
  ["InvalidArgument", "INVALID_FIELD", amount(1n), { returnItems: true }],
  ["InvalidArgument", "INVALID_FIELD", units({ 1: 1n }), { restock: true }],
  ["InvalidArgument", "INVALID_FIELD", amount(1n), { reference: "transfer 8" }],
  ["InvalidArgument", "INVALID_REQUEST", amount(-1n), {}],
  ["InvalidArgument", "INVALID_REQUEST", amount(2n ** 53n + 1n), {}],
  ["InvalidArgument", "INVALID_REQUEST", { case: "items", value: { items: [] } }, {}],
  [
    "InvalidArgument",
    "INVALID_FIELD",
    {
      case: "items",
      value: {
        items: [
          { itemId: "1", quantity: 1n },
          { itemId: "1", quantity: 1n },
        ],
      },
    },
    {},
  ],
];

test.each(invalidRequests)("a refund fails with %s and %s: %o %o", async (code, reason, subject, further) => {
  const { order } = await placeCapturedOrder(shop, [2n]);
  expect(await failureOf(refund(shop, order.id, subject, further))).toMatchObject({ code, reason });
  expect((await shop.orders.listRefunds({ id: order.id })).refunds).toEqual([]);
  expect((await shop.orders.getOrder({ id: order.id })).order).toEqual(order);
});

test("an order without captured money cannot be refunded, and an unknown one has no refunds", async () => {
  const { id } = await placeOrder(shop, [1n]);
  expect(await failureOf(refund(shop, id, amount(1n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
  });
  expect((await shop.orders.listRefunds({ id })).refunds).toEqual([]);
  const unknown = randomUUID();
  expect(await failureOf(refund(shop, unknown, amount(1n)))).toMatchObject({ reason: "ORDER_NOT_FOUND" });
  expect(await failureOf(shop.orders.listRefunds({ id: unknown }))).toMatchObject({
    reason: "ORDER_NOT_FOUND",
  });
});
