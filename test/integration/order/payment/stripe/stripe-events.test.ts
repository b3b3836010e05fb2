import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PaymentState } from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { silentLog } from "../../../../support/log.ts";
import { placeWithPayment } from "../../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";
import { findIntent } from "../../../../support/stripe-fake/fake-account.ts";
import { sendWebhook } from "../../../../support/stripe-fake/fake-events.ts";
import { authenticateFakeIntent, captureFakeIntent } from "../../../../support/stripe-fake/fake-intents.ts";
import { closeDispute, createFakeRefund, openDispute } from "../../../../support/stripe-fake/fake-returns.ts";
import { type StripeFake, startStripeFake } from "../../../../support/stripe-fake/stripe-fake.ts";

let fake: StripeFake;
let shop: TestShop;
beforeAll(async () => {
  fake = await startStripeFake();
  const env = {
    PAYMENT_GATEWAY: "stripe",
    STRIPE_SECRET_KEY: fake.secretKey,
    STRIPE_WEBHOOK_SECRET: fake.webhookSecret,
    STRIPE_API_URL: fake.url,
  };
  shop = await startShop(env, silentLog);
});
afterAll(async () => {
  await shop.close();
  await fake.close();
});

/** Places an order whose payment is authorized, captured, refunded and disputed at Stripe, and returns the events of it. */
async function placeWithEvents() {
  const { order, payment } = await placeWithPayment(shop, [1n], "pm_card_authenticationRequired");
  const { account } = fake;
  const id = payment.gatewayReference;
  authenticateFakeIntent(account, id, true);
  captureFakeIntent(account, id, new Map());
  createFakeRefund(account, new Map(Object.entries({ payment_intent: id, amount: "300" })));
  closeDispute(account, openDispute(account, findIntent(account, id), 500).id, "won");
  const events = account.events.filter(({ data }) => JSON.stringify(data).includes(id));
  return { orderId: order.id, events };
}

const unprocessedCount = async () =>
  (await shop.database.query("select from webhook_event where processed_at is null")).length;

test("events of Stripe in any order, each sent twice, end in the same ledger and the same order", async () => {
  const outcomes = new Set<string>();
  const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7 });
  await fc.assert(
    fc.asyncProperty(order, async (positions) => {
      const { orderId, events } = await placeWithEvents();
      expect(events).toHaveLength(positions.length);
      for (const position of positions) {
        const event = events[position];
        if (event === undefined) throw new Error(`there is no event ${position}`);
        const send = () => sendWebhook(`${shop.url}/webhooks/stripe`, fake.webhookOf(event));
        expect(await Promise.all([send(), send()])).toEqual([200, 200]);
      }
      await expect.poll(unprocessedCount).toBe(0);
      const { entries } = await shop.payments.listLedgerEntries({ orderId });
      const amounts = entries.map(({ type, amount }) => `${type} ${amount?.minorUnits}`).sort();
      const { order: placed } = await shop.orders.getOrder({ id: orderId });
      const { paymentState, paidAmount, refundedAmount } = placed ?? {};
      outcomes.add(`${amounts} ${paymentState} ${paidAmount?.minorUnits} ${refundedAmount?.minorUnits}`);
    }),
    { numRuns: 20, seed: 14 },
  );

  const { AUTHORIZED, CAPTURED, REFUNDED, DISPUTED, DISPUTE_WON } = LedgerEntryType;
  const entries = [
    `${AUTHORIZED} 1000`,
    `${CAPTURED} 1000`,
    `${REFUNDED} 300`,
    `${DISPUTED} 500`,
    `${DISPUTE_WON} 500`,
  ].sort();
  expect([...outcomes]).toEqual([`${entries} ${PaymentState.PARTIALLY_REFUNDED} 1000 300`]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
