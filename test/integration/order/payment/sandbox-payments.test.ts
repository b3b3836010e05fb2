import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { CaptureMethod, PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const { AUTHORIZED, AUTHORIZATION_FAILED, CAPTURED, CAPTURE_FAILED, DISPUTED, REFUNDED, VOIDED } =
  LedgerEntryType;

/** Waits until the webhooks that the sandbox has sent are processed. */
async function webhooksProcessed({ database }: TestShop): Promise<void> {
  const open = () =>
    database.query(
      `select id from sandbox_event
       union all select event_id from webhook_event where processed_at is null`,
    );
  await expect.poll(open, { timeout: 30_000 }).toEqual([]);
}

const entryTypesOf = async ({ payments }: TestShop, orderId: string) =>
  (await payments.listLedgerEntries({ orderId })).entries.map(({ type }) => type).toSorted();
const orderOf = async ({ orders }: TestShop, id: string) => (await orders.getOrder({ id })).order;

describe("captured at the shipment", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop({ PAYMENT_GATEWAY: "sandbox", PAYMENT_TIMEOUT_MS: "500" });
  });
  afterEach(async () => {
    await webhooksProcessed(shop);
    expect(await findViolations(shop.database.url)).toEqual([]);
  });
  afterAll(() => shop.close());

  test("a payment with a second step is authorized, captured at the shipment, and its webhooks change nothing", async () => {
    const { order, payment } = await placeWithPayment(shop, [2n], "sandbox_second_step");
    expect(payment).toMatchObject({
      state: PaymentState.ACTION_REQUIRED,
      captureMethod: CaptureMethod.AT_SHIPMENT,
    });
    expect(payment.nextAction?.clientSecret).not.toBe("");
    const confirmation = { id: payment.id, requestId: randomUUID(), paymentMethod: "sandbox_second_step_ok" };
    const { payment: confirmed } = await shop.payments.confirmPayment(confirmation);
    expect(confirmed).toMatchObject({ state: PaymentState.AUTHORIZED });
    await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
    await expect.poll(async () => (await orderOf(shop, order.id))?.paymentState).toBe(OrderPaymentState.PAID);
    const before = await orderOf(shop, order.id);
    await webhooksProcessed(shop);
    expect(await orderOf(shop, order.id)).toEqual(before);
    expect(await entryTypesOf(shop, order.id)).toEqual([AUTHORIZED, CAPTURED].toSorted());
  });

  test.each([
    ["sandbox_timeout", "webhook"],
    ["sandbox_error_after", "webhook"],
  ])("a payment with %s is PENDING until its %s", async (token) => {
    const { order, payment } = await placeWithPayment(shop, [1n], token);
    expect(payment).toMatchObject({ state: PaymentState.PENDING, inDoubt: true });
    await expect
      .poll(async () => (await orderOf(shop, order.id))?.paymentState, { timeout: 30_000 })
      .toBe(OrderPaymentState.AUTHORIZED);
    const { payment: after } = await shop.payments.getPayment({ id: payment.id });
    expect(after).toMatchObject({ state: PaymentState.AUTHORIZED, inDoubt: false });
  });

  test("a declined payment fails, and a cancelled order releases its authorization", async () => {
    const { order, payment } = await placeWithPayment(shop, [1n], "sandbox_declined");
    expect(payment).toMatchObject({ state: PaymentState.FAILED });
    expect(payment.failure?.code).not.toBe("");
    expect(await entryTypesOf(shop, order.id)).toEqual([AUTHORIZATION_FAILED]);
    const { order: other, payment: authorized } = await placeWithPayment(shop, [1n], "sandbox_ok");
    await shop.orders.cancelOrder({ id: other.id });
    await expect
      .poll(async () => (await shop.payments.getPayment({ id: authorized.id })).payment?.state)
      .toBe(PaymentState.CANCELLED);
    expect(await entryTypesOf(shop, other.id)).toEqual([AUTHORIZED, VOIDED].toSorted());
  });

  test("a declined capture of an order that is not shipped cancels the order", async () => {
    const { order, payment } = await placeWithPayment(shop, [1n], "sandbox_capture_declined");
    await shop.payments.capturePayment({ id: payment.id, requestId: randomUUID() });
    await expect.poll(async () => (await orderOf(shop, order.id))?.state).toBe(OrderState.CANCELLED);
    await expect.poll(() => entryTypesOf(shop, order.id)).toContain(VOIDED);
    expect(await entryTypesOf(shop, order.id)).toEqual([AUTHORIZED, CAPTURE_FAILED, VOIDED].toSorted());
  });
});

describe("captured with the order", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop({ PAYMENT_GATEWAY: "sandbox", PAYMENT_CAPTURE: "order" });
  });
  afterEach(async () => {
    await webhooksProcessed(shop);
    expect(await findViolations(shop.database.url)).toEqual([]);
  });
  afterAll(() => shop.close());

  test("a payment is captured immediately, and the money of a cancelled order goes back by itself", async () => {
    const { order, payment } = await placeWithPayment(shop, [2n], "sandbox_ok");
    expect(payment).toMatchObject({ state: PaymentState.CAPTURED, captureMethod: CaptureMethod.AT_ORDER });
    expect(await orderOf(shop, order.id)).toMatchObject({
      state: OrderState.CONFIRMED,
      paymentState: OrderPaymentState.PAID,
      paidAmount: { minorUnits: 2_000n },
    });
    await shop.orders.cancelOrder({ id: order.id });
    await expect
      .poll(async () => (await orderOf(shop, order.id))?.paymentState)
      .toBe(OrderPaymentState.REFUNDED);
    await webhooksProcessed(shop);
    expect(await entryTypesOf(shop, order.id)).toEqual([CAPTURED, REFUNDED].toSorted());
    expect(await orderOf(shop, order.id)).toMatchObject({ refundedAmount: { minorUnits: 2_000n } });
  });

  test("a disputed payment is listed with the disputed amount", async () => {
    const { order, payment } = await placeWithPayment(shop, [1n], "sandbox_dispute");
    await expect.poll(() => entryTypesOf(shop, order.id)).toContain(DISPUTED);
    const { payment: disputed } = await shop.payments.getPayment({ id: payment.id });
    expect(disputed).toMatchObject({ state: PaymentState.CAPTURED, disputedAmount: { minorUnits: 1_000n } });
  });
});
