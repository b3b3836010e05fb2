import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { CaptureMethod, PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createMemoryGateway, noResponse, rejection } from "../../../support/payments/memory-gateway.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const gateway = createMemoryGateway();
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({}, silentLog, undefined, () => gateway);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const EUR_20 = { currencyCode: "EUR", minorUnits: 2_000n };

/** Places an order of EUR 20.00. */
async function placeOrder(): Promise<string> {
  const productId = await makeProduct(shop, { stock: 5n });
  const { order } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 2n }] },
  });
  return order?.id ?? "";
}

const creation = (orderId: string, paymentMethod = "ok") => ({
  payment: { orderId },
  paymentMethod,
  requestId: randomUUID(),
});

const callsOf = (paymentId = "") => gateway.calls.filter(({ key }) => key === paymentId);

test("a payment with a method is authorized, and confirms the order", async () => {
  const id = await placeOrder();
  const { payment } = await shop.payments.createPayment(creation(id));
  expect(payment).toMatchObject({
    orderId: id,
    gateway: "sandbox",
    state: PaymentState.AUTHORIZED,
    amount: EUR_20,
    authorizedAmount: EUR_20,
    capturedAmount: { minorUnits: 0n },
    captureMethod: CaptureMethod.AT_SHIPMENT,
    inDoubt: false,
  });
  expect(payment?.nextAction).toBeUndefined();
  const { order } = await shop.orders.getOrder({ id });
  expect(order).toMatchObject({ state: OrderState.CONFIRMED, paymentState: OrderPaymentState.AUTHORIZED });
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 1n });
  expect(events).toMatchObject([{ type: OrderEventType.PAYMENT_AUTHORIZED, paymentId: payment?.id }]);
  const { entries } = await shop.payments.listLedgerEntries({ orderId: id });
  expect(entries).toMatchObject([
    { type: LedgerEntryType.AUTHORIZED, paymentId: payment?.id, amount: EUR_20 },
  ]);
});

test("a payment without a method returns the secret with which the client continues it", async () => {
  const id = await placeOrder();
  const { payment } = await shop.payments.createPayment({
    ...creation(id, ""),
    payment: { orderId: id, amount: EUR_20 },
  });
  expect(payment).toMatchObject({
    state: PaymentState.ACTION_REQUIRED,
    nextAction: { clientSecret: `secret_${payment?.id}`, publishableKey: "pk_memory" },
  });
  const confirmation = { id: payment?.id ?? "", requestId: randomUUID(), paymentMethod: "ok" };
  const confirmed = await shop.payments.confirmPayment(confirmation);
  expect(confirmed.payment).toMatchObject({ state: PaymentState.AUTHORIZED });
  expect(await shop.payments.confirmPayment(confirmation)).toEqual(confirmed);
  expect(gateway.calls.filter(({ key }) => key === confirmation.requestId)).toHaveLength(1);
});

test("a declined payment is FAILED, and can be confirmed with another method", async () => {
  const id = await placeOrder();
  const { payment } = await shop.payments.createPayment(creation(id, "declined"));
  expect(payment).toMatchObject({ state: PaymentState.FAILED });
  expect((await shop.orders.getOrder({ id })).order).toMatchObject({
    paymentState: OrderPaymentState.FAILED,
  });
  const confirmation = { id: payment?.id ?? "", requestId: randomUUID(), paymentMethod: "ok" };
  expect((await shop.payments.confirmPayment(confirmation)).payment).toMatchObject({
    state: PaymentState.AUTHORIZED,
  });
});

test("a failed payment is cancelled at the gateway when another one is created", async () => {
  const id = await placeOrder();
  const { payment: failed } = await shop.payments.createPayment(creation(id, "declined"));
  const { payment } = await shop.payments.createPayment(creation(id));
  expect(payment).toMatchObject({ state: PaymentState.AUTHORIZED });
  await expect
    .poll(async () => (await shop.payments.getPayment({ id: failed?.id ?? "" })).payment?.state)
    .toBe(PaymentState.CANCELLED);
  const { payments } = await shop.payments.listPayments({ orderId: id });
  expect(payments.map(({ state }) => state)).toEqual([PaymentState.AUTHORIZED, PaymentState.CANCELLED]);
});

test("a repeat returns the same payment, as it is now, and calls the gateway once", async () => {
  const id = await placeOrder();
  const request = creation(id);
  const first = await shop.payments.createPayment(request);
  expect(await shop.payments.createPayment(request)).toEqual(first);
  expect(callsOf(first.payment?.id)).toHaveLength(1);
  const other = { ...request, paymentMethod: "declined" };
  expect(await failureOf(shop.payments.createPayment(other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
});

test("ten calls with one request_id create one payment, and ten with their own as well", async () => {
  const [one, other] = [await placeOrder(), await placeOrder()];
  const request = creation(one, "");
  const same = await Promise.all(Array.from({ length: 10 }, () => shop.payments.createPayment(request)));
  expect(new Set(same.map(({ payment }) => payment?.id)).size).toBe(1);
  const own = Array.from({ length: 10 }, () => shop.payments.createPayment(creation(other)));
  const failures = await Promise.all(own.map((call) => failureOf(call).catch(() => undefined)));
  expect(failures.filter((failure) => failure === undefined)).toHaveLength(1);
  expect((await shop.payments.listPayments({ orderId: other })).payments).toHaveLength(1);
});

test("an open payment keeps another one from being created", async () => {
  const id = await placeOrder();
  const { payment } = await shop.payments.createPayment(creation(id, ""));
  expect(await failureOf(shop.payments.createPayment(creation(id)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "PAYMENT_OPEN",
    metadata: { payment_id: payment?.id },
  });
});

test("a payment without a response is PENDING and in doubt, and a repeat gets the response", async () => {
  const id = await placeOrder();
  gateway.failNext("createIntent", { after: noResponse() });
  const request = creation(id);
  const { payment } = await shop.payments.createPayment(request);
  expect(payment).toMatchObject({ state: PaymentState.PENDING, inDoubt: true });
  const { payments } = await shop.payments.listPayments({ attention: 1 });
  expect(payments.map((one) => one.id)).toContain(payment?.id);
  expect((await shop.payments.createPayment(request)).payment).toMatchObject({
    id: payment?.id,
    state: PaymentState.AUTHORIZED,
  });
  expect(gateway.factsOf(payment?.id ?? "").map(({ type }) => type)).toEqual(["AUTHORIZED"]);
});

test("a payment that the gateway rejects is FAILED with its code", async () => {
  const id = await placeOrder();
  gateway.failNext("createIntent", { before: rejection("amount_too_small") });
  const { payment } = await shop.payments.createPayment(creation(id));
  expect(payment).toMatchObject({
    state: PaymentState.FAILED,
    failure: { code: "amount_too_small", message: "The gateway has rejected the call." },
  });
  expect(
    await failureOf(shop.payments.confirmPayment({ id: payment?.id ?? "", requestId: randomUUID() })),
  ).toMatchObject({
    reason: "PAYMENT_STATE",
  });
  expect((await shop.payments.createPayment(creation(id))).payment).toMatchObject({
    state: PaymentState.AUTHORIZED,
  });
});

test("validate_only checks a payment without creating it", async () => {
  const id = await placeOrder();
  const { payment } = await shop.payments.createPayment({ ...creation(id), validateOnly: true });
  expect(payment).toMatchObject({ state: PaymentState.PENDING, amount: EUR_20 });
  expect((await shop.payments.listPayments({ orderId: id })).payments).toEqual([]);
  expect(callsOf(payment?.id)).toEqual([]);
});

test.each([
  ["less", { currencyCode: "EUR", minorUnits: 1_999n }],
  ["more", { currencyCode: "EUR", minorUnits: 2_001n }],
  ["another currency", { currencyCode: "USD", minorUnits: 2_000n }],
])("a payment of %s is refused with the amount that is due", async (_name, amount) => {
  const id = await placeOrder();
  const request = { ...creation(id), payment: { orderId: id, amount } };
  expect(await failureOf(shop.payments.createPayment(request))).toMatchObject({
    code: "FailedPrecondition",
    reason: "AMOUNT_NOT_DUE",
    metadata: { amount_due: "2000", currency_code: "EUR" },
  });
});

test("a paid order and a cancelled one need no payment", async () => {
  const [paid, cancelled] = [await placeOrder(), await placeOrder()];
  await shop.payments.createPayment(creation(paid));
  await shop.orders.cancelOrder({ id: cancelled });
  for (const id of [paid, cancelled]) {
    expect(await failureOf(shop.payments.createPayment(creation(id)))).toMatchObject({
      reason: "ORDER_STATE",
    });
  }
  expect(await failureOf(shop.payments.createPayment(creation(randomUUID())))).toMatchObject({
    reason: "ORDER_NOT_FOUND",
  });
});
