import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PaymentState } from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { placeOrder } from "../../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: "order", PAYMENT_TIMEOUT_MS: "100" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("the webhooks of a payment are delivered over HTTP, stored once and applied, and change nothing that its response has stated", async () => {
  const { id: orderId } = await placeOrder(shop, [2n]);
  const { payment } = await shop.payments.createPayment({
    payment: { orderId },
    paymentMethod: "sandbox_ok",
    requestId: randomUUID(),
  });
  const { order } = await shop.orders.getOrder({ id: orderId });
  expect(order?.paymentState).toBe(PaymentState.PAID);
  await expect
    .poll(() => shop.database.query("select type, outcome, attempts from webhook_event"))
    .toEqual([{ type: "payment.captured", outcome: "APPLIED", attempts: 0 }]);
  await expect.poll(() => shop.database.query("select from sandbox_event")).toEqual([]);
  const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment?.id ?? "" });
  expect(entries).toHaveLength(1);
  expect((await shop.orders.getOrder({ id: orderId })).order).toEqual(order);
});

test("a payment without a response is authorized by its webhook", async () => {
  const { id: orderId } = await placeOrder(shop, [2n]);
  const { payment } = await shop.payments.createPayment({
    payment: { orderId },
    paymentMethod: "sandbox_timeout",
    requestId: randomUUID(),
  });
  expect(payment?.inDoubt).toBe(true);
  await expect
    .poll(async () => (await shop.orders.getOrder({ id: orderId })).order?.paymentState, { timeout: 30_000 })
    .toBe(PaymentState.PAID);
});
