import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Order } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  PaymentState as OrderPaymentState,
  OrderState,
  OrderTransition,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { openExpiryWorker, setExpiry } from "../../../support/orders/expiry-worker.ts";
import { orderOf, payOrder, placeOrder } from "../../../support/orders/order-fixtures.ts";
import { type LedgerReplica, openLedger, webhookOf } from "../../../support/payments/ledger-fixtures.ts";
import { createMemoryGateway, rejection } from "../../../support/payments/memory-gateway.ts";
import { createPayment, placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const { AUTHORIZED, CAPTURED, CAPTURE_FAILED, VOIDED } = LedgerEntryType;
const gateway = createMemoryGateway();
let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop({}, silentLog, undefined, () => gateway);
  ledger = await openLedger(shop.database);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

const read = async (id: string) => orderOf(await shop.orders.getOrder({ id }));
const entriesOf = async (orderId: string) => {
  const { entries } = await shop.payments.listLedgerEntries({ orderId });
  return entries.map(({ type, amount }) => [type, amount?.minorUnits]);
};
const requestsOf = (paymentId: string) =>
  shop.database.query("select kind, state from payment_request where payment_id = $1 order by id", [
    paymentId,
  ]);

/** Places an order that is shipped and whose capture is rejected. */
async function shipWithoutCapture(): Promise<{ order: Order; paymentId: string }> {
  const { order, payment } = await placeWithPayment(shop, [2n]);
  gateway.failNext("capture", { before: rejection("expired") });
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => requestsOf(payment.id)).toEqual([{ kind: "CAPTURE", state: "FAILED" }]);
  return { order: await read(order.id), paymentId: payment.id };
}

/** Ends the authorization of a payment at the gateway, whose webhook states it. */
async function endAuthorization(paymentId: string): Promise<void> {
  const reference = `pi_${paymentId}`;
  const limits = { signal: new AbortController().signal, timeoutMs: 1_000 };
  const { facts } = await gateway.cancel({ paymentId, reference, cancelId: randomUUID() }, limits);
  await ledger.writer.apply(webhookOf({ id: paymentId, reference }, facts));
}

test("an order that was shipped before its capture was rejected is paid by hand, and its authorization ends", async () => {
  const { order, paymentId } = await shipWithoutCapture();
  expect(order.allowedTransitions).toContain(OrderTransition.MARK_PAID);
  expect(await payOrder(shop, order)).toMatchObject({
    paymentState: OrderPaymentState.AUTHORIZED,
    paidAmount: { minorUnits: 2_000n },
    amountDue: { minorUnits: 0n },
  });
  await expect.poll(async () => (await read(order.id)).paymentState).toBe(OrderPaymentState.PAID);
  expect(await requestsOf(paymentId)).toEqual([
    { kind: "CAPTURE", state: "FAILED" },
    { kind: "CANCEL", state: "DONE" },
  ]);
  expect(await entriesOf(order.id)).toEqual([
    [AUTHORIZED, 2_000n],
    [CAPTURE_FAILED, 2_000n],
    [CAPTURED, 2_000n],
    [VOIDED, 2_000n],
  ]);
});

test("an authorized order is not paid by hand while its capture runs, nor twice", async () => {
  const { order } = await placeWithPayment(shop, [1n]);
  const hold = Promise.withResolvers<void>();
  gateway.failNext("capture", { delay: hold.promise, before: rejection("expired") });
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  const shipped = await read(order.id);
  expect(await failureOf(payOrder(shop, shipped))).toMatchObject({ reason: "CAPTURE_RUNNING" });
  gateway.failNext("cancel", { delay: hold.promise });
  hold.resolve();
  await expect.poll(() => entriesOf(order.id)).toContainEqual([CAPTURE_FAILED, 1_000n]);
  const results = await Promise.allSettled([1, 2, 3].map(() => payOrder(shop, shipped)));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await expect.poll(async () => (await read(order.id)).paymentState).toBe(OrderPaymentState.PAID);
  expect((await entriesOf(order.id)).filter(([type]) => type === CAPTURED)).toEqual([[CAPTURED, 1_000n]]);
});

test("an order whose authorization ended after its shipment is paid by another payment, captured immediately", async () => {
  const { order, paymentId } = await shipWithoutCapture();
  await endAuthorization(paymentId);
  const unpaid = await read(order.id);
  expect(unpaid).toMatchObject({ state: OrderState.CONFIRMED, paymentState: OrderPaymentState.FAILED });
  expect(unpaid.allowedTransitions).toEqual(
    expect.arrayContaining([OrderTransition.MARK_PAID, OrderTransition.PAY]),
  );
  expect(await createPayment(shop, order.id)).toMatchObject({ state: PaymentState.CAPTURED });
  expect(await read(order.id)).toMatchObject({
    paymentState: OrderPaymentState.PAID,
    paidAmount: { minorUnits: 2_000n },
  });
});

test("an order whose authorization ended after its shipment does not expire, keeps no other from it, and is paid by hand", async () => {
  const { order, paymentId } = await shipWithoutCapture();
  await endAuthorization(paymentId);
  const other = await placeOrder(shop, [1n]);
  await setExpiry(shop.database, "-1 second", order.id, other.id);
  await expect.poll(async () => (await read(other.id)).state).toBe(OrderState.EXPIRED);
  const worker = await openExpiryWorker(shop.database.url);
  expect(await worker.run()).toEqual({ taken: 0, postponed: 0 });
  const unpaid = await read(order.id);
  expect(unpaid).toMatchObject({ state: OrderState.CONFIRMED, paymentState: OrderPaymentState.FAILED });
  expect(unpaid.expireTime).toBeUndefined();
  expect(await payOrder(shop, unpaid)).toMatchObject({ paymentState: OrderPaymentState.PAID });
});
