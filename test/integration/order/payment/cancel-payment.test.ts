import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { payOrder, placeOrder } from "../../../support/orders/order-fixtures.ts";
import { createMemoryGateway, noResponse } from "../../../support/payments/memory-gateway.ts";
import { createPayment, placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const { AUTHORIZED, CAPTURED, CAPTURE_FAILED, REFUNDED, VOIDED } = LedgerEntryType;

const gateway = createMemoryGateway();
let shop: TestShop;
beforeAll(async () => {
  // Requests run concurrently, so that one can overtake another.
  shop = await startShop({ WORKERS: "4" }, silentLog, undefined, () => gateway);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const stateOf = async (id: string) => (await shop.payments.getPayment({ id })).payment?.state;
const orderOf = async (id: string) => (await shop.orders.getOrder({ id })).order;
const entryTypesOf = async (orderId: string) => {
  const { entries } = await shop.payments.listLedgerEntries({ orderId });
  return entries.map(({ type }) => type);
};
const requestsOf = (paymentId: string) =>
  shop.database.query<{ id: string; kind: string; state: string }>(
    "select id, kind, state from payment_request where payment_id = $1 order by id",
    [paymentId],
  );

test("a payment that waits for its buyer is cancelled, and another one can be created", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n], "");
  const cancellation = { id: payment.id, requestId: randomUUID() };
  const { payment: cancelled } = await shop.payments.cancelPayment(cancellation);
  expect(cancelled).toMatchObject({ state: PaymentState.CANCELLED });
  expect(cancelled?.nextAction).toBeUndefined();
  for (const repeat of [cancellation, { id: payment.id }]) {
    expect((await shop.payments.cancelPayment(repeat)).payment).toMatchObject({
      state: PaymentState.CANCELLED,
    });
  }
  expect(await requestsOf(payment.id)).toMatchObject([{ kind: "CANCEL", state: "DONE" }]);
  expect(await createPayment(shop, order.id)).toMatchObject({ state: PaymentState.AUTHORIZED });
  const confirmation = { id: payment.id, requestId: randomUUID() };
  expect(await failureOf(shop.payments.confirmPayment(confirmation))).toMatchObject({
    reason: "PAYMENT_STATE",
    metadata: { payment_state: "CANCELLED" },
  });
});

test("an authorized payment is not cancelled, but with its order", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  expect(await failureOf(shop.payments.cancelPayment({ id: payment.id }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "PAYMENT_STATE",
    metadata: { payment_state: "AUTHORIZED" },
  });
  await shop.orders.cancelOrder({ id: order.id });
  await expect.poll(() => stateOf(payment.id)).toBe(PaymentState.CANCELLED);
  expect(await entryTypesOf(order.id)).toEqual([AUTHORIZED, VOIDED]);
  expect(await orderOf(order.id)).toMatchObject({
    state: OrderState.CANCELLED,
    paidAmount: { minorUnits: 0n },
  });
});

test("a payment that the gateway never got is cancelled without it", async () => {
  const order = await placeOrder(shop, [1n]);
  gateway.failNext("createIntent", { before: noResponse() });
  const payment = await createPayment(shop, order.id);
  expect(payment).toMatchObject({ state: PaymentState.PENDING, inDoubt: true });
  const { payment: cancelled } = await shop.payments.cancelPayment({ id: payment.id });
  expect(cancelled).toMatchObject({ state: PaymentState.CANCELLED, inDoubt: false });
  expect(await createPayment(shop, order.id)).toMatchObject({ state: PaymentState.AUTHORIZED });
});

test("a payment that the gateway got, without its response, is cancelled there", async () => {
  const order = await placeOrder(shop, [1n]);
  gateway.failNext("createIntent", { after: noResponse() });
  const payment = await createPayment(shop, order.id, "");
  await shop.payments.cancelPayment({ id: payment.id });
  expect(await stateOf(payment.id)).toBe(PaymentState.CANCELLED);
  expect(gateway.calls.filter(({ method }) => method === "cancel").length).toBeGreaterThan(0);
});

test("a cancellation without a response is repeated by its job with the same key", async () => {
  const { payment } = await placeWithPayment(shop, [1n], "");
  gateway.failNext("cancel", { before: noResponse() }, { after: noResponse() });
  const { payment: before } = await shop.payments.cancelPayment({ id: payment.id });
  expect(before).toMatchObject({ state: PaymentState.ACTION_REQUIRED });
  await expect.poll(() => stateOf(payment.id), { timeout: 30_000 }).toBe(PaymentState.CANCELLED);
  const requests = await requestsOf(payment.id);
  expect(requests).toMatchObject([{ kind: "CANCEL", state: "DONE" }]);
  expect(gateway.calls.filter(({ key }) => key === requests[0]?.id).length).toBeGreaterThanOrEqual(3);
});

test("a payment by hand cancels the open payment", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n], "");
  expect(await payOrder(shop, order)).toMatchObject({ paymentState: OrderPaymentState.PAID });
  await expect.poll(() => stateOf(payment.id)).toBe(PaymentState.CANCELLED);
  expect(await entryTypesOf(order.id)).toEqual([CAPTURED]);
});

test("a cancellation that overtakes a capture leaves nothing captured", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  const hold = Promise.withResolvers<void>();
  gateway.failNext("capture", { delay: hold.promise });
  await shop.payments.capturePayment({ id: payment.id, requestId: randomUUID() });
  await shop.orders.cancelOrder({ id: order.id });
  await expect.poll(() => stateOf(payment.id)).toBe(PaymentState.CANCELLED);
  hold.resolve();
  await expect
    .poll(() => requestsOf(payment.id))
    .toMatchObject([
      { kind: "CAPTURE", state: "FAILED" },
      { kind: "CANCEL", state: "DONE" },
    ]);
  expect(await entryTypesOf(order.id)).toEqual([AUTHORIZED, VOIDED, CAPTURE_FAILED]);
  expect((await shop.payments.listLedgerDiscrepancies({ orderId: order.id })).discrepancies).toEqual([]);
});

test("a capture that overtakes a cancellation is refunded once, by itself", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  const [captures, cancels] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  gateway.failNext("capture", { delay: captures.promise });
  gateway.failNext("cancel", { delay: cancels.promise });
  await shop.payments.capturePayment({ id: payment.id, requestId: randomUUID() });
  await shop.orders.cancelOrder({ id: order.id });
  captures.resolve();
  await expect.poll(() => entryTypesOf(order.id)).toContain(CAPTURED);
  cancels.resolve();
  await expect.poll(async () => (await orderOf(order.id))?.paymentState).toBe(OrderPaymentState.REFUNDED);
  await expect
    .poll(async () => (await requestsOf(payment.id)).map(({ state }) => state))
    .toEqual(["DONE", "DONE", "DONE"]);
  expect((await entryTypesOf(order.id)).toSorted()).toEqual([AUTHORIZED, CAPTURED, REFUNDED].toSorted());
  expect(await orderOf(order.id)).toMatchObject({
    state: OrderState.CANCELLED,
    paidAmount: { minorUnits: 1_000n },
    refundedAmount: { minorUnits: 1_000n },
  });
  expect(gateway.factsOf(payment.id).filter(({ type }) => type === "REFUNDED")).toHaveLength(1);
});

test("ten cancellations of one order at the same time cancel its payment once", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  await Promise.all(Array.from({ length: 10 }, () => shop.orders.cancelOrder({ id: order.id })));
  await expect.poll(() => stateOf(payment.id)).toBe(PaymentState.CANCELLED);
  expect(await requestsOf(payment.id)).toMatchObject([{ kind: "CANCEL", state: "DONE" }]);
});
