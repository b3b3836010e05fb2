import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PaymentState } from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { RefundState } from "../../../../../gen/cartwright/order/v1/refund_pb.ts";
import { failureOf } from "../../../../support/errors.ts";
import { silentLog } from "../../../../support/log.ts";
import { placeOrder } from "../../../../support/orders/order-fixtures.ts";
import { createPayment } from "../../../../support/payments/payment-fixtures.ts";
import { amount, refund, units } from "../../../../support/payments/refund-requests.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";
import { endFakeRefund } from "../../../../support/stripe-fake/fake-returns.ts";
import { type StripeFake, startStripeFake } from "../../../../support/stripe-fake/stripe-fake.ts";

let fake: StripeFake;
let shop: TestShop;
beforeAll(async () => {
  fake = await startStripeFake();
  const env = {
    PAYMENT_GATEWAY: "stripe",
    PAYMENT_CAPTURE: "order",
    STRIPE_SECRET_KEY: fake.secretKey,
    STRIPE_WEBHOOK_SECRET: fake.webhookSecret,
    STRIPE_API_URL: fake.url,
  };
  shop = await startShop(env, silentLog);
  fake.deliverTo(`${shop.url}/webhooks/stripe`);
});
afterEach(async () => {
  await fake.delivered();
  expect(await findViolations(shop.database.url)).toEqual([]);
});
afterAll(async () => {
  await shop.close();
  await fake.close();
});

async function placeCaptured(method = "pm_card_visa", price?: { currencyCode: string; minorUnits: bigint }) {
  const { id } = await placeOrder(shop, [2n], price === undefined ? {} : { price });
  const { gatewayReference } = await createPayment(shop, id, method);
  return { id, gatewayReference };
}

const statesOf = async (id: string) =>
  (await shop.orders.listRefunds({ id })).refunds.map(({ state }) => state);

const refundsOf = (intent: string) =>
  [...fake.account.refunds.values()]
    .filter(({ payment_intent: id }) => id === intent)
    .map((one) => one.amount);

test("an order is refunded by a unit and then the rest, although the first response is lost", async () => {
  const { id, gatewayReference } = await placeCaptured();
  fake.failNext("refund", "disconnect_after");
  await refund(shop, id, units({ 1: 1n }));
  await expect.poll(() => statesOf(id)).toEqual([RefundState.SUCCEEDED]);
  await refund(shop, id, units({ 1: 1n }));
  await expect.poll(() => statesOf(id)).toEqual([RefundState.SUCCEEDED, RefundState.SUCCEEDED]);

  expect((await shop.orders.getOrder({ id })).order?.paymentState).toBe(PaymentState.REFUNDED);
  expect(refundsOf(gatewayReference)).toEqual([1_000, 1_000]);
});

test("a refund that fails at the bank of the buyer can be made again", async () => {
  const { id, gatewayReference } = await placeCaptured("pm_card_pendingRefund");
  await refund(shop, id, units({ 1: 2n }));
  await expect.poll(() => statesOf(id)).toEqual([RefundState.SUCCEEDED]);
  const pending = [...fake.account.refunds.values()].find((one) => one.payment_intent === gatewayReference);
  endFakeRefund(fake.account, pending?.id ?? "", "failed");
  await expect.poll(() => statesOf(id)).toEqual([RefundState.FAILED]);
  await refund(shop, id, units({ 1: 2n }));

  await expect.poll(() => statesOf(id)).toEqual([RefundState.FAILED, RefundState.SUCCEEDED]);
  expect((await shop.orders.getOrder({ id })).order?.refundedAmount?.minorUnits).toBe(2_000n);
});

test("a refund of an amount that Stripe cannot move is refused, and nothing is requested", async () => {
  const { id, gatewayReference } = await placeCaptured("pm_card_visa", {
    currencyCode: "BHD",
    minorUnits: 1_235n,
  });
  expect(await failureOf(refund(shop, id, units({ 1: 1n })))).toMatchObject({
    reason: "AMOUNT_NOT_CHARGEABLE",
  });
  expect(await statesOf(id)).toEqual([]);
  await refund(shop, id, amount(1_230n, "BHD"));
  await expect.poll(() => statesOf(id)).toEqual([RefundState.SUCCEEDED]);
  expect(refundsOf(gatewayReference)).toEqual([1_230]);
});
