import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { silentLog } from "../../../../support/log.ts";
import { placeWithPayment } from "../../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../../support/shop.ts";
import { findViolations } from "../../../../support/stores/invariants.ts";
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
    STRIPE_MULTICAPTURE: "on",
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

/** Returns the captured amounts in the order of their requests. */
const capturesOf = async (orderId: string) => {
  const rows = await shop.database.query<{ minor: string; state: string; is_final: boolean }>(
    "select amount_minor as minor, state, is_final from payment_request where order_id = $1 order by id",
    [orderId],
  );
  return rows.map(({ minor, state, is_final: isFinal }) => `${state} ${minor}${isFinal ? " final" : ""}`);
};

const ship = (id: string, itemId: string) =>
  shop.orders.shipOrder({ requestId: randomUUID(), id, items: [{ itemId, quantity: 1n }] });

const paidOf = async (id: string) => (await shop.orders.getOrder({ id })).order?.paidAmount?.minorUnits;

test("each shipment captures the price of its units", async () => {
  const { order } = await placeWithPayment(shop, [1n, 1n], "pm_card_visa");
  await ship(order.id, "1");
  await expect.poll(() => paidOf(order.id)).toBe(1_000n);
  await ship(order.id, "2");
  await expect.poll(() => paidOf(order.id)).toBe(2_000n);

  expect(await capturesOf(order.id)).toEqual(["DONE 1000", "DONE 1000 final"]);
});

test("the first shipment captures all that is due of a card without several captures", async () => {
  fake.account.allowsMulticapture = false;
  const { order } = await placeWithPayment(shop, [1n, 1n, 1n], "pm_card_visa");
  fake.account.allowsMulticapture = true;
  const items = [{ itemId: "3", quantity: 1n }];
  await shop.orders.cancelOrderItems({ requestId: randomUUID(), id: order.id, items });
  await ship(order.id, "1");
  await expect.poll(() => paidOf(order.id)).toBe(2_000n);
  await ship(order.id, "2");

  expect(await capturesOf(order.id)).toEqual(["DONE 2000 final"]);
  const { discrepancies } = await shop.payments.listLedgerDiscrepancies({ orderId: order.id });
  expect(discrepancies).toEqual([]);
});

test("a declined capture is requested again by the next shipment, and not before", async () => {
  const { order } = await placeWithPayment(shop, [1n, 1n], "pm_card_captureDeclined");
  await ship(order.id, "1");
  await expect.poll(() => capturesOf(order.id)).toEqual(["FAILED 1000"]);
  await expect.poll(() => activeJobs()).toBe(0);
  expect(await capturesOf(order.id)).toEqual(["FAILED 1000"]);
  await ship(order.id, "2");
  await expect.poll(() => capturesOf(order.id)).toEqual(["FAILED 1000", "FAILED 2000 final"]);
});

async function activeJobs(): Promise<number> {
  const [row] = await shop.database.query<{ count: string }>(
    "select count(*) from pgboss.job where name = 'payment-request' and state in ('created', 'active', 'retry')",
  );
  return Number(row?.count);
}
