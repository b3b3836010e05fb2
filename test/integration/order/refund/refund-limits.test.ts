import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import { insertCapturedPayment } from "../../../support/payments/captured-payments.ts";
import {
  amount,
  placeCapturedOrder,
  refund,
  refundRequestsOf,
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

test("of 20 concurrent refunds of a tenth each, ten are made and ten are too large", async () => {
  const { order, paymentId } = await placeCapturedOrder(shop, [1n]);
  const refunds = Array.from({ length: 20 }, () => refund(shop, order.id, amount(150n)));
  const outcomes = await Promise.all(
    refunds.map((call) =>
      call.then(
        () => "made",
        () => failureOf(call).then(({ code, reason }) => `${code} ${reason}`),
      ),
    ),
  );
  expect(outcomes.toSorted()).toEqual([
    ...Array<string>(10).fill("FailedPrecondition REFUND_TOO_LARGE"),
    ...Array<string>(10).fill("made"),
  ]);
  const { payment } = await shop.payments.getPayment({ id: paymentId });
  expect(payment?.requestedRefundAmount).toEqual(payment?.capturedAmount);
  const requests = await refundRequestsOf(shop, order.id);
  expect(requests.map(({ amount: minor, jobs }) => [minor, jobs])).toEqual(Array(10).fill(["150", 1]));
});

test("concurrent refunds of the same unit make one", async () => {
  const { order } = await placeCapturedOrder(shop, [1n, 1n]);
  const calls = Array.from({ length: 10 }, () => refund(shop, order.id, units({ 1: 1n })));
  const settled = await Promise.allSettled(calls);
  expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("money in dispute is not refunded, and a contradicted payment is left to staff", async () => {
  const placed = await placeOrder(shop, [2n]);
  const paymentId = await insertCapturedPayment(shop, placed, { disputed: 500n });
  expect(await failureOf(refund(shop, placed.id, units({ 1: 2n })))).toMatchObject({
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: "1500" },
  });
  expect((await refund(shop, placed.id, amount(1_400n))).refund).toMatchObject({ amount: eur(1_400n) });
  const discrepancyId = randomUUID();
  await shop.database.query(
    `insert into payment_discrepancy (id, kind, order_id, payment_id, gateway, reference, description, created_at)
     values ($1, 'AMOUNT_CONFLICT', $2, $3, 'stripe', 'ch_1', 'two amounts', now())`,
    [discrepancyId, placed.id, paymentId],
  );
  expect(await failureOf(refund(shop, placed.id, amount(100n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "DISCREPANCY_UNRESOLVED",
  });
  const resolution = { id: discrepancyId, requestId: randomUUID(), resolution: "asked the gateway" };
  await shop.payments.resolveLedgerDiscrepancy(resolution);
  expect((await refund(shop, placed.id, amount(100n))).refund).toMatchObject({ amount: eur(100n) });
});

test.each([
  ["JPY", 1n, [1n]],
  ["JPY", 1_001n, [500n, 501n]],
  ["BHD", 1_000_005n, [333_335n, 666_670n]],
  ["EUR", 10n ** 15n, [1n, 10n ** 15n - 1n]],
] as const)("refunds of %s are exact in minor units: %s", async (currencyCode, price, amounts) => {
  const placed = await placeOrder(shop, [1n], { price: { currencyCode, minorUnits: price } });
  await insertCapturedPayment(shop, placed);
  for (const one of amounts) {
    const { refund: made } = await refund(shop, placed.id, amount(one, currencyCode));
    expect(made?.amount).toMatchObject({ currencyCode, minorUnits: one });
  }
  expect(await failureOf(refund(shop, placed.id, amount(1n, currencyCode)))).toMatchObject({
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: "0" },
  });
});

test("a payment has at most 200 refunds, failed ones included", async () => {
  const { order, paymentId } = await placeCapturedOrder(shop, [1n]);
  await shop.database.query(
    `with failed as (
       insert into refund (
         id, order_id, payment_id, kind, amount_minor, shipping_minor, state, actor, created_at, completed_at
       )
       select gen_random_uuid(), $1, $2, 'SHIPPING', 1, 1, 'FAILED', 'SYSTEM', now(), now() from generate_series(1, 199)
       returning *
     )
     insert into payment_request (id, payment_id, order_id, kind, amount_minor, state, created_at, updated_at)
     select id, payment_id, order_id, 'REFUND', 1, 'FAILED', now(), now() from failed`,
    [order.id, paymentId],
  );
  await refund(shop, order.id, amount(1n));
  expect(await failureOf(refund(shop, order.id, amount(1n)))).toMatchObject({
    code: "FailedPrecondition",
    reason: "REFUND_LIMIT_REACHED",
  });
});
