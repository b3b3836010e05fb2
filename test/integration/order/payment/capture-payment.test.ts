import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerDiscrepancyKind, LedgerEntryType } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createMemoryGateway, noResponse, rejection } from "../../../support/payments/memory-gateway.ts";
import { placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const gateway = createMemoryGateway();
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({}, silentLog, undefined, () => gateway);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const entriesOf = async (orderId: string, { payments }: Pick<TestShop, "payments"> = shop) => {
  const { entries } = await payments.listLedgerEntries({ orderId });
  return entries.map(({ type, amount }) => [type, amount?.minorUnits]);
};
const paymentStateOf = async (id: string, { orders }: Pick<TestShop, "orders"> = shop) =>
  (await orders.getOrder({ id })).order?.paymentState;
const requestsOf = (paymentId: string) =>
  shop.database.query<{ id: string; kind: string; state: string }>(
    "select id, kind, state from payment_request where payment_id = $1 order by id",
    [paymentId],
  );

test("the first shipment captures all that is due, once", async () => {
  const { order, payment } = await placeWithPayment(shop, [2n, 1n]);
  const items = [{ itemId: "1", quantity: 1n }];
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id, items });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  expect(await entriesOf(order.id)).toEqual([
    [LedgerEntryType.AUTHORIZED, 3_000n],
    [LedgerEntryType.CAPTURED, 3_000n],
  ]);
  expect(await requestsOf(payment.id)).toMatchObject([{ kind: "CAPTURE", state: "DONE" }]);
  const { order: paid } = await shop.orders.getOrder({ id: order.id });
  expect(paid).toMatchObject({ paidAmount: { minorUnits: 3_000n }, amountDue: { minorUnits: 0n } });
  const { events } = await shop.orders.listOrderEvents({ id: order.id });
  expect(events.map(({ type }) => type).filter((type) => type === OrderEventType.PAID)).toHaveLength(1);
});

test("the rest of an authorization ends when units were cancelled before the first shipment", async () => {
  const { order } = await placeWithPayment(shop, [2n, 1n]);
  const items = [{ itemId: "2", quantity: 1n }];
  await shop.orders.cancelOrderItems({ requestId: randomUUID(), id: order.id, items });
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);
  expect(await entriesOf(order.id)).toEqual([
    [LedgerEntryType.AUTHORIZED, 3_000n],
    [LedgerEntryType.CAPTURED, 2_000n],
    [LedgerEntryType.VOIDED, 1_000n],
  ]);
});

test("a capture whose responses are lost is repeated with its key, and captures once", async () => {
  gateway.failNext("capture", { after: noResponse() }, { before: noResponse() });
  const { order, payment } = await placeWithPayment(shop, [1n]);
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => paymentStateOf(order.id), { timeout: 30_000 }).toBe(OrderPaymentState.PAID);
  const [request] = await requestsOf(payment.id);
  expect(gateway.calls.filter(({ key }) => key === request?.id)).toHaveLength(3);
  expect(gateway.factsOf(payment.id).filter(({ type }) => type === "CAPTURED")).toHaveLength(1);
});

test("units that are cancelled while their capture runs are charged, and the order is listed as overpaid", async () => {
  const { order } = await placeWithPayment(shop, [2n, 1n]);
  const hold = Promise.withResolvers<void>();
  gateway.failNext("capture", { delay: hold.promise });
  const items = [{ itemId: "1", quantity: 1n }];
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id, items });
  await shop.orders.cancelOrderItems({ requestId: randomUUID(), id: order.id, items });
  hold.resolve();
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);
  expect(await entriesOf(order.id)).toEqual([
    [LedgerEntryType.AUTHORIZED, 3_000n],
    [LedgerEntryType.CAPTURED, 3_000n],
  ]);
  const { discrepancies } = await shop.payments.listLedgerDiscrepancies({ orderId: order.id });
  expect(discrepancies).toMatchObject([
    {
      kind: LedgerDiscrepancyKind.OVERPAID,
      expected: { minorUnits: 2_000n },
      actual: { minorUnits: 3_000n },
    },
  ]);
  const amount = { currencyCode: "EUR", minorUnits: 1_000n };
  const subject = { case: "amount" as const, value: amount };
  await shop.orders.refundOrder({ requestId: randomUUID(), id: order.id, subject });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PARTIALLY_REFUNDED);
});

test("staff capture all that is due before the shipment, and no part, since the rest would end", async () => {
  const { order, payment } = await placeWithPayment(shop, [2n]);
  const captureOf = (minorUnits: bigint) => ({
    id: payment.id,
    requestId: randomUUID(),
    amount: { currencyCode: "EUR", minorUnits },
  });
  expect(await failureOf(shop.payments.capturePayment(captureOf(1_999n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "CAPTURE_TOO_SMALL",
    metadata: { capturable: "2000" },
  });
  const capture = captureOf(2_000n);
  const first = await shop.payments.capturePayment(capture);
  expect(first.payment).toMatchObject({ id: payment.id, state: PaymentState.AUTHORIZED });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);
  expect(await shop.payments.capturePayment(capture)).toEqual(first);
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  expect(await entriesOf(order.id)).toEqual([
    [LedgerEntryType.AUTHORIZED, 2_000n],
    [LedgerEntryType.CAPTURED, 2_000n],
  ]);
});

test("of ten captures at the same time one is requested, and more than is due is refused", async () => {
  const { payment } = await placeWithPayment(shop, [2n]);
  const capture = (minorUnits: bigint) =>
    shop.payments.capturePayment({
      id: payment.id,
      requestId: randomUUID(),
      amount: { currencyCode: "EUR", minorUnits },
    });
  expect(await failureOf(capture(2_001n))).toMatchObject({
    reason: "CAPTURE_TOO_LARGE",
    metadata: { capturable: "2000" },
  });
  const hold = Promise.withResolvers<void>();
  gateway.failNext("capture", { delay: hold.promise });
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => capture(2_000n)));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(await failureOf(capture(2_000n))).toMatchObject({ reason: "CAPTURE_RUNNING" });
  hold.resolve();
  await expect.poll(() => requestsOf(payment.id)).toMatchObject([{ kind: "CAPTURE", state: "DONE" }]);
  expect(await failureOf(capture(2_000n))).toMatchObject({ reason: "PAYMENT_STATE" });
});

test("a rejected capture of an order that is not shipped cancels it and releases its units", async () => {
  const { order, payment } = await placeWithPayment(shop, [2n]);
  gateway.failNext("capture", { before: rejection("expired") });
  await shop.payments.capturePayment({ id: payment.id, requestId: randomUUID() });
  await expect
    .poll(async () => (await shop.orders.getOrder({ id: order.id })).order?.state)
    .toBe(OrderState.CANCELLED);
  await expect
    .poll(async () => (await shop.payments.getPayment({ id: payment.id })).payment?.state)
    .toBe(PaymentState.CANCELLED);
  const { discrepancies } = await shop.payments.listLedgerDiscrepancies({ orderId: order.id });
  expect(discrepancies).toMatchObject([
    { kind: LedgerDiscrepancyKind.REQUEST_FAILED, paymentId: payment.id },
  ]);
  const types = (await entriesOf(order.id)).map(([type]) => type);
  const { AUTHORIZED, CAPTURE_FAILED, VOIDED } = LedgerEntryType;
  expect(new Set(types)).toEqual(new Set([AUTHORIZED, CAPTURE_FAILED, VOIDED]));
});

test("a rejected capture of a shipped order is reported, and the order stays as it is", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  gateway.failNext("capture", { before: rejection("expired") });
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => requestsOf(payment.id)).toMatchObject([{ kind: "CAPTURE", state: "FAILED" }]);
  const { order: after } = await shop.orders.getOrder({ id: order.id });
  expect(after).toMatchObject({ state: OrderState.CONFIRMED, paymentState: OrderPaymentState.AUTHORIZED });
  const { payments } = await shop.payments.listPayments({ attention: 2 });
  expect(payments.map(({ id }) => id)).toContain(payment.id);
});

describe("a gateway that captures in parts", () => {
  const inParts = createMemoryGateway({ capturesInParts: true });
  let other: TestShop;
  beforeAll(async () => {
    other = await startShop({}, silentLog, undefined, () => inParts);
  });
  afterEach(async () => expect(await findViolations(other.database.url)).toEqual([]));
  afterAll(() => other.close());

  test("captures each shipment, also those that follow while a capture runs, and the sum is exact", async () => {
    const { order } = await placeWithPayment(other, [2n, 1n]);
    const hold = Promise.withResolvers<void>();
    inParts.failNext("capture", { delay: hold.promise });
    const ship = (itemId: string) =>
      other.orders.shipOrder({ requestId: randomUUID(), id: order.id, items: [{ itemId, quantity: 1n }] });
    await ship("1");
    await expect.poll(() => inParts.calls.filter(({ method }) => method === "capture")).toHaveLength(1);
    await ship("2");
    hold.resolve();
    await expect.poll(async () => (await entriesOf(order.id, other)).length).toBe(3);
    await ship("1");
    await expect.poll(() => paymentStateOf(order.id, other)).toBe(OrderPaymentState.PAID);
    expect(await entriesOf(order.id, other)).toEqual([
      [LedgerEntryType.AUTHORIZED, 3_000n],
      [LedgerEntryType.CAPTURED, 1_000n],
      [LedgerEntryType.CAPTURED, 1_000n],
      [LedgerEntryType.CAPTURED, 1_000n],
    ]);
  });

  test("refunds units at their price, and only when all is captured", async () => {
    const { order } = await placeWithPayment(other, [2n, 1n]);
    const ship = (itemId: string, quantity: bigint) =>
      other.orders.shipOrder({ requestId: randomUUID(), id: order.id, items: [{ itemId, quantity }] });
    const refund = () => {
      const items = { items: [{ itemId: "2", quantity: 1n }] };
      return other.orders.refundOrder({
        requestId: randomUUID(),
        id: order.id,
        subject: { case: "items", value: items },
      });
    };
    await ship("2", 1n);
    await expect.poll(async () => (await entriesOf(order.id, other)).length).toBe(2);
    expect(await failureOf(refund())).toMatchObject({
      code: "FailedPrecondition",
      reason: "CAPTURE_UNFINISHED",
    });
    await ship("1", 2n);
    await expect.poll(async () => (await entriesOf(order.id, other)).length).toBe(3);
    expect((await refund()).refund?.amount?.minorUnits).toBe(1_000n);
    await expect.poll(() => paymentStateOf(order.id, other)).toBe(OrderPaymentState.PARTIALLY_REFUNDED);
  });

  test("captures a part that staff choose, and the shipment the rest", async () => {
    const { order, payment } = await placeWithPayment(other, [2n]);
    const amount = { currencyCode: "EUR", minorUnits: 500n };
    await other.payments.capturePayment({ id: payment.id, requestId: randomUUID(), amount });
    await expect.poll(async () => (await entriesOf(order.id, other)).length).toBe(2);
    await other.orders.shipOrder({ requestId: randomUUID(), id: order.id });
    await expect.poll(() => paymentStateOf(order.id, other)).toBe(OrderPaymentState.PAID);
    expect(await entriesOf(order.id, other)).toEqual([
      [LedgerEntryType.AUTHORIZED, 2_000n],
      [LedgerEntryType.CAPTURED, 500n],
      [LedgerEntryType.CAPTURED, 1_500n],
    ]);
    const { discrepancies } = await other.payments.listLedgerDiscrepancies({ orderId: order.id });
    expect(discrepancies).toEqual([]);
  });

  test("releases the rest when the last units are cancelled", async () => {
    const { order, payment } = await placeWithPayment(other, [2n]);
    const items = [{ itemId: "1", quantity: 1n }];
    await other.orders.shipOrder({ requestId: randomUUID(), id: order.id, items });
    await expect.poll(async () => (await entriesOf(order.id, other)).length).toBe(2);
    await other.orders.cancelOrderItems({ requestId: randomUUID(), id: order.id, items });
    await expect.poll(() => inParts.calls.filter(({ method }) => method === "cancel")).toHaveLength(1);
    expect(inParts.factsOf(payment.id).map(({ type }) => type)).toEqual(["AUTHORIZED", "CAPTURED", "VOIDED"]);
    await expect.poll(() => paymentStateOf(order.id, other)).toBe(OrderPaymentState.PAID);
  });
});
