import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderTransition, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { RefundState } from "../../../../gen/cartwright/order/v1/refund_pb.ts";
import { LedgerEntryType, LedgerSource } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  orderOf,
  payOrder,
  placeOrder,
  stockOfItems,
  unitsOf,
} from "../../../support/orders/order-fixtures.ts";
import {
  amount,
  placeCapturedOrder,
  refund,
  refundRequestsOf,
  shipping,
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

const eur = (minorUnits: bigint) => expect.objectContaining({ currencyCode: "EUR", minorUnits });

test("units are refunded with their share of the shipping: the gateway is requested to, and the history says so", async () => {
  const { order, paymentId } = await placeCapturedOrder(shop, [2n, 1n]);
  const { order: after, refund: made } = await refund(shop, order.id, units({ 1: 1n }, true), {
    reason: "damaged",
  });
  expect(made).toMatchObject({
    orderId: order.id,
    paymentId,
    state: RefundState.PENDING,
    amount: { currencyCode: "EUR", minorUnits: 1_166n },
    lines: [{ itemId: "1", quantity: 1n, amount: { minorUnits: 1_000n }, tax: { minorUnits: 0n } }],
    shippingAmount: { minorUnits: 166n },
    shippingTax: { minorUnits: 0n },
    automatic: false,
    reason: "damaged",
    reference: "",
  });
  expect(made?.completeTime).toBeUndefined();
  expect(after).toMatchObject({ etag: "3", paymentState: PaymentState.PAID, refundedAmount: eur(0n) });
  const { payment } = await shop.payments.getPayment({ id: paymentId });
  expect(payment).toMatchObject({ requestedRefundAmount: eur(1_166n), refundedAmount: eur(0n) });
  expect(await refundRequestsOf(shop, order.id)).toEqual([{ id: made?.id, amount: "1166", jobs: 1 }]);
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 2n });
  expect(events).toMatchObject([
    {
      type: OrderEventType.REFUND_REQUESTED,
      amount: eur(1_166n),
      paymentId,
      refundId: made?.id,
      reason: "damaged",
    },
  ]);
});

test("a refund cancels no units: those that are cancelled first are refunded and not shipped", async () => {
  const { order } = await placeCapturedOrder(shop, [2n, 2n]);
  const key = () => ({ id: order.id, requestId: randomUUID() });
  await shop.orders.cancelOrderItems({ ...key(), items: [{ itemId: "1", quantity: 1n }] });
  const { refund: cancelled } = await refund(shop, order.id, units({ 1: 1n }));
  const { refund: kept } = await refund(shop, order.id, units({ 2: 1n }));
  expect([cancelled?.amount, kept?.amount]).toEqual([eur(1_000n), eur(1_000n)]);
  const { fulfillment } = await shop.orders.shipOrder(key());
  expect(fulfillment?.items).toMatchObject([
    { itemId: "1", quantity: 1n },
    { itemId: "2", quantity: 2n },
  ]);
});

test("an amount, the shipping and the last units are together what was captured", async () => {
  const { order } = await placeCapturedOrder(shop, [2n, 1n]);
  const subjects = [amount(101n), shipping, units({ 1: 1n }), units({ 1: 1n, 2: 1n }, true)];
  const refunds = [];
  for (const subject of subjects) refunds.push((await refund(shop, order.id, subject)).refund);
  expect(refunds.map((one) => one?.amount?.minorUnits)).toEqual([101n, 486n, 971n, 1_942n]);
  expect(refunds[0]?.lines.map(({ quantity, amount: share }) => [quantity, share?.minorUnits])).toEqual([
    [0n, 58n],
    [0n, 29n],
  ]);
  expect(await failureOf(refund(shop, order.id, amount(1n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: "0" },
  });
  const listed = await shop.orders.listRefunds({ id: order.id.toUpperCase(), pageSize: 3 });
  const rest = await shop.orders.listRefunds({ id: order.id, pageSize: 3, pageToken: listed.nextPageToken });
  expect([...listed.refunds, ...rest.refunds]).toEqual(refunds);
  expect(rest.nextPageToken).toBe("");
});

test("units are returned and refunded together, or neither", async () => {
  const { order } = await placeCapturedOrder(shop, [2n]);
  await shop.orders.shipOrder({
    id: order.id,
    requestId: randomUUID(),
    items: [{ itemId: "1", quantity: 1n }],
  });
  const options = { returnItems: true, restock: true, reason: "too small" };
  expect(await failureOf(refund(shop, order.id, units({ 1: 2n }), options))).toMatchObject({
    code: "FailedPrecondition",
    reason: "QUANTITY_TOO_LARGE",
  });
  expect((await shop.orders.listRefunds({ id: order.id })).refunds).toEqual([]);
  expect(unitsOf(orderOf(await shop.orders.getOrder({ id: order.id })))).toEqual([[0, 1, 0]]);
  const after = orderOf(await refund(shop, order.id, units({ 1: 1n }), options));
  expect(unitsOf(after)).toEqual([[0, 1, 1]]);
  expect(await stockOfItems(shop, after)).toEqual([{ onHand: 100, reserved: 1 }]);
  const { events } = await shop.orders.listOrderEvents({ id: order.id, afterSequence: 3n });
  expect(events.map(({ type, reason, restocked }) => [type, reason, restocked])).toEqual([
    [OrderEventType.ITEMS_RETURNED, "too small", true],
    [OrderEventType.REFUND_REQUESTED, "too small", false],
  ]);
});

test("validate_only returns the response of the call, and changes nothing", async () => {
  const { order } = await placeCapturedOrder(shop, [2n, 1n]);
  await shop.orders.shipOrder({ id: order.id, requestId: randomUUID() });
  const before = await shop.orders.getOrder({ id: order.id });
  const options = { returnItems: true, restock: true };
  const computed = await refund(shop, order.id, units({ 1: 1n, 2: 1n }, true), {
    ...options,
    validateOnly: true,
  });
  expect(computed.refund).toMatchObject({ id: "", amount: eur(2_333n), shippingAmount: eur(333n) });
  expect(computed.order?.etag).toBe("5");
  expect(await shop.orders.getOrder({ id: order.id })).toEqual(before);
  expect((await shop.orders.listRefunds({ id: order.id })).refunds).toEqual([]);
  expect(await refundRequestsOf(shop, order.id)).toEqual([]);
  const made = await refund(shop, order.id, units({ 1: 1n, 2: 1n }, true), options);
  expect(made.refund?.lines).toEqual(computed.refund?.lines);
});

test("a repeat returns the first response and refunds nothing more", async () => {
  const { order } = await placeCapturedOrder(shop, [1n]);
  const request = { requestId: randomUUID() };
  const first = await refund(shop, order.id, amount(100n), request);
  expect(await refund(shop, order.id, amount(100n), request)).toEqual(first);
  expect(await failureOf(refund(shop, order.id, amount(101n), request))).toMatchObject({
    code: "InvalidArgument",
    reason: "REQUEST_ID_REUSED",
  });
  expect(await refundRequestsOf(shop, order.id)).toHaveLength(1);
});

test("a payment by hand is refunded by hand: an entry of the ledger with a reference, and no request", async () => {
  const placed = await placeOrder(shop, [2n]);
  await payOrder(shop, placed);
  expect(await failureOf(refund(shop, placed.id, units({ 1: 1n })))).toMatchObject({
    code: "InvalidArgument",
    reason: "FIELD_REQUIRED",
    fields: ["reference"],
  });
  const first = await refund(shop, placed.id, units({ 1: 1n }), {
    reference: "transfer 8",
    reason: "damaged",
  });
  expect(first.order).toMatchObject({
    paymentState: PaymentState.PARTIALLY_REFUNDED,
    paidAmount: eur(2_000n),
    refundedAmount: eur(1_000n),
  });
  expect(first.refund).toMatchObject({ state: RefundState.SUCCEEDED, reference: "transfer 8" });
  expect(first.refund?.completeTime).toEqual(first.refund?.createTime);
  const last = await refund(shop, placed.id, amount(1_000n), { reference: "transfer 9" });
  expect(last.order).toMatchObject({ paymentState: PaymentState.REFUNDED, refundedAmount: eur(2_000n) });
  expect(last.order?.allowedTransitions).not.toContain(OrderTransition.REFUND);
  expect(await failureOf(refund(shop, placed.id, amount(1n), { reference: "transfer 10" }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "ORDER_STATE",
  });
  const { entries } = await shop.payments.listLedgerEntries({ orderId: placed.id });
  expect(entries.filter(({ type }) => type === LedgerEntryType.REFUNDED)).toMatchObject([
    {
      gateway: "manual",
      reference: first.refund?.id,
      source: LedgerSource.STAFF,
      note: "transfer 8",
      amount: eur(1_000n),
    },
    {
      gateway: "manual",
      reference: last.refund?.id,
      source: LedgerSource.STAFF,
      note: "transfer 9",
      amount: eur(1_000n),
    },
  ]);
  const { events } = await shop.orders.listOrderEvents({ id: placed.id, afterSequence: 2n });
  expect(events.map(({ type, paymentState }) => [type, paymentState])).toEqual([
    [OrderEventType.REFUNDED, PaymentState.PARTIALLY_REFUNDED],
    [OrderEventType.REFUNDED, PaymentState.REFUNDED],
  ]);
  const { payments } = await shop.payments.listPayments({ orderId: placed.id });
  expect(payments).toMatchObject([{ refundedAmount: eur(2_000n), requestedRefundAmount: eur(2_000n) }]);
  expect(await refundRequestsOf(shop, placed.id)).toEqual([]);
});
