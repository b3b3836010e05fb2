import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType, LedgerSource } from "../../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentState } from "../../../../../gen/cartwright/payment/v1/payment_pb.ts";
import type { Log } from "../../../../../src/kernel/log.ts";
import { placeOrder } from "../../../../support/orders/order-fixtures.ts";
import { createPayment, paymentOf, placeWithPayment } from "../../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";
import { authenticateFakeIntent } from "../../../../support/stripe-fake/fake-intents.ts";
import { type StripeFake, startStripeFake } from "../../../../support/stripe-fake/stripe-fake.ts";

const SECRET_KEY = "sk_live_plantedSecretKey";
const WEBHOOK_SECRET = "whsec_plantedWebhookSecret";
const logged: string[] = [];
const record = (fields: object, message: string) => {
  const { err } = Object(fields);
  const error = err instanceof Error ? `${err.stack} ${JSON.stringify(err)} ${err.cause}` : "";
  logged.push(`${message} ${JSON.stringify(fields)} ${error}`);
};
const log: Log = { debug: record, info: record, warn: record, error: record };

let fake: StripeFake;
let shop: TestShop;
beforeAll(async () => {
  fake = await startStripeFake({ secretKey: SECRET_KEY, webhookSecret: WEBHOOK_SECRET });
  const env = {
    PAYMENT_GATEWAY: "stripe",
    STRIPE_SECRET_KEY: SECRET_KEY,
    STRIPE_PUBLISHABLE_KEY: "pk_live_public",
    STRIPE_WEBHOOK_SECRET: `whsec_next,${WEBHOOK_SECRET}`,
    STRIPE_API_URL: fake.url,
  };
  shop = await startShop(env, log);
  fake.deliverTo(`${shop.url}/webhooks/stripe`);
});
afterEach(async () => {
  const statuses = await fake.delivered();
  expect(statuses.length).toBeGreaterThan(0);
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  await expect.poll(unprocessed).toEqual([]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
afterAll(async () => {
  await shop.close();
  await fake.close();
});

const unprocessed = () =>
  shop.database.query(
    "select event_id from webhook_event where processed_at is null or outcome = 'UNREADABLE'",
  );

const paymentStateOf = async (id: string) => (await shop.orders.getOrder({ id })).order?.paymentState;

const typeNames = new Map<number, string>(
  Object.entries(LedgerEntryType).map(([name, value]) => [value, name]),
);

async function entriesOf(orderId: string): Promise<string[]> {
  const { entries } = await shop.payments.listLedgerEntries({ orderId });
  return entries.map(({ type, amount }) => `${typeNames.get(type)} ${amount?.minorUnits}`);
}

test("an order is paid with a second step, and captured by its shipment", async () => {
  const order = await placeOrder(shop, [2n, 1n]);
  const payment = await createPayment(shop, order.id, "pm_card_authenticationRequired");
  expect(payment).toMatchObject({
    gateway: "stripe",
    state: PaymentState.ACTION_REQUIRED,
    nextAction: { clientSecret: expect.stringMatching(/_secret_/), publishableKey: "pk_live_public" },
  });
  authenticateFakeIntent(fake.account, payment.gatewayReference, true);
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.AUTHORIZED);
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);

  expect(await entriesOf(order.id)).toEqual(["AUTHORIZED 3000", "CAPTURED 3000"]);
  expect(fake.requests.filter(({ operation }) => operation === "capture")).toHaveLength(1);
});

test("a declined payment is confirmed with another card", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n], "pm_card_chargeDeclined");
  expect(payment).toMatchObject({ state: PaymentState.FAILED, failure: { code: "generic_decline" } });
  const confirmation = { id: payment.id, requestId: randomUUID(), paymentMethod: "pm_card_visa" };
  expect(paymentOf(await shop.payments.confirmPayment(confirmation)).state).toBe(PaymentState.AUTHORIZED);

  expect((await shop.orders.getOrder({ id: order.id })).order?.state).toBe(OrderState.CONFIRMED);
  expect(await entriesOf(order.id)).toEqual(["AUTHORIZATION_FAILED 1000", "AUTHORIZED 1000"]);
});

test("a payment whose response is lost is authorized by its webhook", async () => {
  fake.failNext("create", "disconnect_after");
  const { order, payment } = await placeWithPayment(shop, [1n], "pm_card_visa");
  expect(payment).toMatchObject({ state: PaymentState.PENDING, inDoubt: true });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.AUTHORIZED);

  const { entries } = await shop.payments.listLedgerEntries({ orderId: order.id });
  expect(entries).toMatchObject([{ type: LedgerEntryType.AUTHORIZED, source: LedgerSource.WEBHOOK }]);
});

test("a capture that failed after it was done is recorded once", async () => {
  const { order } = await placeWithPayment(shop, [1n], "pm_card_visa");
  fake.failNext("capture", "error_after");
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  await expect.poll(() => paymentStateOf(order.id)).toBe(OrderPaymentState.PAID);

  expect(await entriesOf(order.id)).toEqual(["AUTHORIZED 1000", "CAPTURED 1000"]);
});

test("a cancelled order releases its authorization, and refunds a capture that was made meanwhile", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n], "pm_card_visa");
  const other = await placeWithPayment(shop, [1n], "pm_card_visa");
  const headers = { authorization: `Bearer ${SECRET_KEY}` };
  await shop.orders.cancelOrder({ id: order.id, requestId: randomUUID() });
  await expect.poll(() => entriesOf(order.id)).toEqual(["AUTHORIZED 1000", "VOIDED 1000"]);

  fake.failNext("cancel", "unavailable");
  await shop.orders.cancelOrder({ id: other.order.id, requestId: randomUUID() });
  const path = `/v1/payment_intents/${other.payment.gatewayReference}/capture`;
  await fetch(`${fake.url}${path}`, { method: "POST", headers });
  await expect
    .poll(() => entriesOf(other.order.id))
    .toEqual(["AUTHORIZED 1000", "CAPTURED 1000", "REFUNDED 1000"]);
  expect(payment.gatewayReference).not.toBe(other.payment.gatewayReference);
  expect([...fake.account.refunds.values()]).toMatchObject([{ amount: 1_000, status: "succeeded" }]);
});

test("no message of the log contains a key or the secret of a client", async () => {
  fake.failNext("create", "rate_limited");
  await placeWithPayment(shop, [1n], "pm_card_visa");

  expect(logged.length).toBeGreaterThan(5);
  expect(logged.filter((line) => line.includes("planted") || line.includes("_secret_"))).toEqual([]);
});
