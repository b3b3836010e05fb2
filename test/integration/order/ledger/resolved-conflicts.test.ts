import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { LedgerFact } from "../../../../src/infra/payment/payment-gateway.ts";
import { failureOf } from "../../../support/errors.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { amount, refund, units } from "../../../support/payments/refund-requests.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

const captured = (payment: TestPayment, name: string, minorUnits: bigint): LedgerFact =>
  factOf(payment, "CAPTURED", { reference: `${name}_${payment.id}`, minorUnits });
const apply = (payment: TestPayment, ...facts: LedgerFact[]) =>
  ledger.writer.apply(webhookOf(payment, facts));

/** Places an order of EUR 20.00 that a gateway has captured. */
async function placeCaptured(): Promise<TestPayment> {
  const { id } = await placeOrder(shop, [2n]);
  const payment = await insertPayment(shop.database, id);
  await apply(payment, factOf(payment, "AUTHORIZED"), captured(payment, "ch", 2_000n));
  return payment;
}

async function conflictsOf(payment: TestPayment): Promise<string[]> {
  const rows = await rowsOf(shop.database, "payment_discrepancy", payment);
  return rows.filter(({ kind }) => kind === "AMOUNT_CONFLICT").map(({ id }) => String(id));
}

const resolve = (id: string) =>
  shop.payments.resolveLedgerDiscrepancy({ id, resolution: "asked the gateway" });

async function refundsOf(payment: TestPayment): Promise<unknown[]> {
  const rows = await rowsOf(shop.database, "refund", payment);
  return rows.map(({ cause, amount_minor: minor, state }) => [cause, minor, state]);
}

test("the resolution of the last conflict of a cancelled order refunds the smaller amount, once", async () => {
  const payment = await placeCaptured();
  await apply(payment, captured(payment, "ch", 2_500n));
  await apply(payment, captured(payment, "other", 300n), captured(payment, "other", 100n));
  await shop.orders.cancelOrder({ id: payment.orderId });
  expect(await refundsOf(payment)).toEqual([]);
  const [first = "", last = "", ...others] = await conflictsOf(payment);
  expect(others).toEqual([]);
  await resolve(first);
  expect(await refundsOf(payment)).toEqual([]);
  await Promise.all([resolve(last), resolve(last), resolve(first)]);
  await resolve(last);
  expect(await refundsOf(payment)).toEqual([[`RESOLVED ${last}`, "2100", "PENDING"]]);
  expect(await rowsOf(shop.database, "payment_request", payment)).toMatchObject([
    { kind: "REFUND", state: "OPEN", amount_minor: "2100" },
  ]);
});

test("a conflict after the refunds of a cancelled order releases what they did not", async () => {
  const payment = await placeCaptured();
  await shop.orders.cancelOrder({ id: payment.orderId });
  await apply(payment, captured(payment, "other", 300n), captured(payment, "other", 400n));
  expect(await refundsOf(payment)).toEqual([["CLOSED", "2000", "PENDING"]]);
  const [id = ""] = await conflictsOf(payment);
  await resolve(id);
  expect(await refundsOf(payment)).toEqual([
    ["CLOSED", "2000", "PENDING"],
    [`RESOLVED ${id}`, "300", "PENDING"],
  ]);
});

test("an order with a resolved conflict is refunded up to the smaller amount", async () => {
  const payment = await placeCaptured();
  await apply(payment, captured(payment, "ch", 2_500n));
  for (const id of await conflictsOf(payment)) await resolve(id);
  expect(await refundsOf(payment)).toEqual([]);
  expect(await failureOf(refund(shop, payment.orderId, amount(2_500n)))).toMatchObject({
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: "2000" },
  });
  const { refund: made } = await refund(shop, payment.orderId, units({ 1: 2n }));
  expect(made?.amount).toMatchObject({ currencyCode: "EUR", minorUnits: 2_000n });
});
