import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { captureOf, factOf, rowsOf, type TestPayment } from "../../../support/payments/ledger-fixtures.ts";
import { automaticRefund } from "../../../support/payments/ledger-reads.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";
import { amount, refund, units } from "../../../support/payments/refund-requests.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Places an order of EUR 20.00 that a gateway has captured. */
async function placeCaptured(): Promise<TestPayment> {
  const payment = await shop.placePayment();
  await shop.applyFacts(payment, factOf(payment, "AUTHORIZED"), captureOf(payment, 2_000n));
  return payment;
}

async function conflictsOf(payment: TestPayment): Promise<string[]> {
  const rows = await rowsOf(shop.database, "payment_discrepancy", payment);
  return rows.filter(({ kind }) => kind === "AMOUNT_CONFLICT").map(({ id }) => String(id));
}

const resolve = (id: string) =>
  shop.payments.resolveLedgerDiscrepancy({ id, resolution: "asked the gateway" });

test("the resolution of the last conflict of a cancelled order refunds the smaller amount, once", async () => {
  const payment = await placeCaptured();
  await shop.applyFacts(payment, captureOf(payment, 2_500n));
  await shop.applyFacts(payment, captureOf(payment, 300n, "other"), captureOf(payment, 100n, "other"));
  await shop.orders.cancelOrder({ id: payment.orderId });
  expect(await shop.stored.refunds(payment)).toEqual([]);
  const [first = "", last = "", ...others] = await conflictsOf(payment);
  expect(others).toEqual([]);
  await resolve(first);
  expect(await shop.stored.refunds(payment)).toEqual([]);
  await Promise.all([resolve(last), resolve(last), resolve(first)]);
  await resolve(last);
  expect(await shop.stored.refunds(payment)).toEqual([automaticRefund(`RESOLVED ${last}`, "2100")]);
  expect(await shop.stored.requests(payment)).toEqual([["REFUND", "OPEN", "2100"]]);
});

test("a conflict after the refunds of a cancelled order releases what they did not", async () => {
  const payment = await placeCaptured();
  await shop.orders.cancelOrder({ id: payment.orderId });
  await shop.applyFacts(payment, captureOf(payment, 300n, "other"), captureOf(payment, 400n, "other"));
  expect(await shop.stored.refunds(payment)).toEqual([automaticRefund("CLOSED", "2000")]);
  const [id = ""] = await conflictsOf(payment);
  await resolve(id);
  expect(await shop.stored.refunds(payment)).toEqual([
    automaticRefund("CLOSED", "2000"),
    automaticRefund(`RESOLVED ${id}`, "300"),
  ]);
});

test("an order with a resolved conflict is refunded up to the smaller amount", async () => {
  const payment = await placeCaptured();
  await shop.applyFacts(payment, captureOf(payment, 2_500n));
  for (const id of await conflictsOf(payment)) await resolve(id);
  expect(await shop.stored.refunds(payment)).toEqual([]);
  expect(await failureOf(refund(shop, payment.orderId, amount(2_500n)))).toMatchObject({
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: "2000" },
  });
  const { refund: made } = await refund(shop, payment.orderId, units({ 1: 2n }));
  expect(made?.amount).toMatchObject({ currencyCode: "EUR", minorUnits: 2_000n });
});
