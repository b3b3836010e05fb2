import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { type Order, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { RefundState } from "../../../../gen/cartwright/order/v1/refund_pb.ts";
import { silentLog } from "../../../support/log.ts";
import { orderOf, placeOrder } from "../../../support/orders/order-fixtures.ts";
import { createMemoryGateway, noResponse, rejection } from "../../../support/payments/memory-gateway.ts";
import { createPayment } from "../../../support/payments/payment-fixtures.ts";
import { amount, refund, units } from "../../../support/payments/refund-requests.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const gateway = createMemoryGateway();
let shop: TestShop;
let shipping: TestShop;
beforeAll(async () => {
  shop = await startShop({ PAYMENT_CAPTURE: "order" }, silentLog, undefined, () => gateway);
  shipping = await startShop({ PAYMENT_CAPTURE: "shipment" }, silentLog, undefined, () => gateway);
});
afterEach(async () => {
  for (const { database } of [shop, shipping]) expect(await findViolations(database.url)).toEqual([]);
});
afterAll(() => Promise.all([shop.close(), shipping.close()]));

const eur = (minorUnits: bigint) => expect.objectContaining({ currencyCode: "EUR", minorUnits });

/** Places an order at EUR 10.00 a unit, which the gateway has captured. */
async function placeCaptured(quantities: readonly bigint[]): Promise<Order> {
  const { id } = await placeOrder(shop, quantities);
  await createPayment(shop, id);
  return orderOf(await shop.orders.getOrder({ id }));
}

/** Waits until the refunds of an order have states, oldest first. */
const expectRefunds = ({ orders }: TestShop, id: string, states: readonly RefundState[]) =>
  expect
    .poll(async () => (await orders.listRefunds({ id })).refunds.map(({ state }) => state))
    .toEqual(states);

const refundCalls = (id: string | undefined) =>
  gateway.calls.filter(({ method, key }) => method === "refund" && key === id).length;

test("the gateway makes a refund, which changes the order when it has responded", async () => {
  const { id } = await placeCaptured([2n]);
  const first = await refund(shop, id, units({ 1: 1n }));
  await expectRefunds(shop, id, [RefundState.SUCCEEDED]);
  expect(orderOf(await shop.orders.getOrder({ id }))).toMatchObject({
    paymentState: PaymentState.PARTIALLY_REFUNDED,
    refundedAmount: eur(1_000n),
  });
  await refund(shop, id, units({ 1: 1n }));
  await expectRefunds(shop, id, [RefundState.SUCCEEDED, RefundState.SUCCEEDED]);
  expect(orderOf(await shop.orders.getOrder({ id })).paymentState).toBe(PaymentState.REFUNDED);
  expect(refundCalls(first.refund?.id)).toBe(1);
  const { events } = await shop.orders.listOrderEvents({ id, afterSequence: 2n });
  expect(events.map(({ type, refundId }) => [type, refundId === first.refund?.id])).toEqual([
    [OrderEventType.REFUND_REQUESTED, true],
    [OrderEventType.REFUNDED, true],
    [OrderEventType.REFUND_REQUESTED, false],
    [OrderEventType.REFUNDED, false],
  ]);
});

test("a refund that the gateway rejects has failed, and its amount can be refunded again", async () => {
  const { id } = await placeCaptured([1n]);
  gateway.failNext("refund", { before: rejection("charge_disputed") });
  await refund(shop, id, amount(1_000n));
  await expectRefunds(shop, id, [RefundState.FAILED]);
  const { payments } = await shop.payments.listPayments({ orderId: id });
  expect(payments).toMatchObject([{ requestedRefundAmount: eur(0n), refundedAmount: eur(0n) }]);
  expect(orderOf(await shop.orders.getOrder({ id })).paymentState).toBe(PaymentState.PAID);
  await refund(shop, id, units({ 1: 1n }));
  await expectRefunds(shop, id, [RefundState.FAILED, RefundState.SUCCEEDED]);
  const { discrepancies } = await shop.payments.listLedgerDiscrepancies({ orderId: id });
  for (const one of discrepancies) {
    await shop.payments.resolveLedgerDiscrepancy({
      id: one.id,
      requestId: randomUUID(),
      resolution: "refunded",
    });
  }
});

test("a refund whose response is lost is requested again with the same key, and made once", async () => {
  const { id } = await placeCaptured([1n]);
  gateway.failNext("refund", { after: noResponse() });
  const { refund: made } = await refund(shop, id, amount(300n));
  await expect.poll(() => refundCalls(made?.id), { timeout: 20_000 }).toBe(2);
  await expectRefunds(shop, id, [RefundState.SUCCEEDED]);
  expect(orderOf(await shop.orders.getOrder({ id })).refundedAmount).toEqual(eur(300n));
});

test("an order that is cancelled while it is refunded gives back what was captured, and not more", async () => {
  const { id } = await placeCaptured([10n]);
  const calls = Array.from({ length: 8 }, () => refund(shop, id, units({ 1: 1n })));
  const outcomes = await Promise.allSettled([...calls, shop.orders.cancelOrder({ id })]);
  const made = outcomes.slice(0, -1).filter(({ status }) => status === "fulfilled");
  expect(outcomes.at(-1)?.status).toBe("fulfilled");
  await expectRefunds(shop, id, Array<RefundState>(made.length + 1).fill(RefundState.SUCCEEDED));
  const { refunds } = await shop.orders.listRefunds({ id });
  expect(refunds.filter(({ automatic }) => automatic)).toHaveLength(1);
  expect(refunds.reduce((sum, one) => sum + (one.amount?.minorUnits ?? 0n), 0n)).toBe(10_000n);
  expect(orderOf(await shop.orders.getOrder({ id }))).toMatchObject({
    paymentState: PaymentState.REFUNDED,
    refundedAmount: eur(10_000n),
  });
});

test.each(["order", "shipment"] as const)(
  "units that were cancelled before the capture with the %s take no part of a refund",
  async (capture) => {
    const captured = capture === "order" ? shop : shipping;
    const { id } = await placeOrder(captured, [2n, 2n]);
    const cancel = (itemId: string) =>
      captured.orders.cancelOrderItems({ id, requestId: randomUUID(), items: [{ itemId, quantity: 1n }] });
    if (capture === "order") await cancel("1");
    await createPayment(captured, id);
    if (capture === "shipment") {
      await cancel("1");
      await captured.orders.shipOrder({ id, requestId: randomUUID() });
    } else await cancel("2");
    const paymentState = async () => orderOf(await captured.orders.getOrder({ id })).paymentState;
    await expect.poll(paymentState).toBe(PaymentState.PAID);
    const { refund: one } = await refund(captured, id, units({ 1: 1n }));
    expect(one?.amount).toEqual(eur(1_000n));
    const { refund: rest } = await refund(captured, id, units({ 2: 2n }));
    expect(rest?.amount).toEqual(eur(2_000n));
    await expectRefunds(captured, id, [RefundState.SUCCEEDED, RefundState.SUCCEEDED]);
  },
);
