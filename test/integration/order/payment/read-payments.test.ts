import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import type { Order } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  LedgerDiscrepancyKind,
  LedgerEntryType,
  LedgerSource,
} from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { CaptureMethod, PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { PaymentAttention } from "../../../../gen/cartwright/payment/v1/payment_service_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

/** Places an order and marks it as paid by hand. */
async function payByHand(reference: string): Promise<Order> {
  const { id, amountDue: amount } = await placeOrder(shop, [2n]);
  const payment = { method: PaymentMethod.CASH, reference, amount };
  const { order } = await shop.orders.markOrderPaid({ id, requestId: randomUUID(), ...payment });
  if (order === undefined) throw new Error("no order");
  return order;
}

/** Inserts payments of Stripe, oldest first, with columns that differ. */
async function insertPayments(
  orderId: string,
  columns: readonly Record<string, unknown>[],
): Promise<string[]> {
  const ids: string[] = [];
  for (const [index, further] of columns.entries()) {
    const id = `01a00000-0000-7000-8000-00000000000${index}`.replace("01a0", randomUUID().slice(0, 4));
    const row = {
      id,
      order_id: orderId,
      gateway: "stripe",
      reference: `pi_${id}`,
      amount_minor: 500,
      currency: "EUR",
      capture: "AT_SHIPMENT",
      step: "PENDING",
      state: "PENDING",
      is_open: false,
      request_id: randomUUID(),
      created_at: new Date(),
      updated_at: new Date(),
      ...further,
    };
    await shop.database.query(
      `insert into payment (${Object.keys(row).join(", ")}) values (${Object.keys(row).map((_, at) => `$${at + 1}`)})`,
      Object.values(row),
    );
    ids.push(id);
  }
  return ids;
}

test("an order that was paid by hand has a payment with one entry in the ledger, and states what was paid", async () => {
  const order = await payByHand("receipt 7");
  expect([order.paidAmount, order.refundedAmount]).toEqual([
    order.totalPrice,
    expect.objectContaining({ currencyCode: "EUR", minorUnits: 0n }),
  ]);
  const { payments } = await shop.payments.listPayments({ orderId: order.id });
  expect(payments).toEqual([
    expect.objectContaining({
      orderId: order.id,
      gateway: "manual",
      state: PaymentState.CAPTURED,
      capturedAmount: order.totalPrice,
      captureMethod: CaptureMethod.UNSPECIFIED,
      manualReference: "receipt 7",
      inDoubt: false,
    }),
  ]);
  const [payment] = payments;
  const id = payment?.id ?? "";
  expect((await shop.payments.getPayment({ id: id.toUpperCase() })).payment).toEqual(payment);
  for (const request of [{ orderId: order.id }, { paymentId: id }]) {
    const { entries } = await shop.payments.listLedgerEntries(request);
    expect(entries).toEqual([
      expect.objectContaining({
        paymentId: id,
        type: LedgerEntryType.CAPTURED,
        source: expect.toSatisfy((source) => source !== LedgerSource.UNSPECIFIED),
        amount: order.totalPrice,
        counts: true,
        note: "receipt 7",
      }),
    ]);
  }
});

test("payments are listed newest first, by page and by the reason for which they need a person", async () => {
  const order = await placeOrder(shop, [1n]);
  const soon = new Date(Date.now() + 60_000);
  const [, doubtful, failed, ending] = await insertPayments(order.id, [
    {},
    { check_reason: "DOUBT", check_at: soon },
    { state: "CAPTURED", captured_minor: 500 },
    { state: "AUTHORIZED", authorized_minor: 500, capture_before: soon },
  ]);
  await shop.database.query(
    `insert into payment_request (id, payment_id, order_id, kind, amount_minor, state, created_at, updated_at)
     values (gen_random_uuid(), $1, $2, 'REFUND', 1, 'DEAD', now(), now())`,
    [failed, order.id],
  );
  const all: string[] = [];
  let pageToken = "";
  do {
    const page = await shop.payments.listPayments({ orderId: order.id, pageSize: 3, pageToken });
    all.push(...page.payments.map(({ id }) => id));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(all).toHaveLength(4);
  expect(all).toEqual(all.toSorted().reverse());
  const attentions = [
    [PaymentAttention.IN_DOUBT, doubtful],
    [PaymentAttention.REQUEST_FAILED, failed],
    [PaymentAttention.AUTHORIZATION_ENDS, ending],
  ] as const;
  for (const [attention, expected] of attentions) {
    const { payments } = await shop.payments.listPayments({ attention, orderId: order.id });
    expect(payments.map(({ id }) => id)).toEqual([expected]);
  }
  const { payments } = await shop.payments.listPayments({ orderId: order.id });
  expect(
    payments
      .filter(({ inDoubt }) => inDoubt)
      .map(({ id }) => id)
      .sort(),
  ).toEqual([doubtful, failed].sort());
});

test("a discrepancy is listed until it is resolved, once", async () => {
  const id = randomUUID();
  await shop.database.query(
    `insert into payment_discrepancy (id, kind, gateway, reference, expected_minor, actual_minor, currency, description, created_at)
     values ($1, 'AMOUNT_CONFLICT', 'stripe', 're_1', 100, 90, 'EUR', 're_1 was reported again', now())`,
    [id],
  );
  const list = async (showResolved = false) =>
    (await shop.payments.listLedgerDiscrepancies({ showResolved })).discrepancies;
  expect(await list()).toEqual([
    expect.objectContaining({
      id,
      kind: LedgerDiscrepancyKind.AMOUNT_CONFLICT,
      expected: expect.objectContaining({ minorUnits: 100n }),
      actual: expect.objectContaining({ minorUnits: 90n }),
    }),
  ]);
  const first = await shop.payments.resolveLedgerDiscrepancy({ id, resolution: "the refund was made twice" });
  const repeated = await shop.payments.resolveLedgerDiscrepancy({ id, resolution: "another reason" });
  expect(repeated).toEqual(first);
  expect(first.discrepancy?.resolution).toBe("the refund was made twice");
  expect(await list()).toEqual([]);
  expect(await list(true)).toEqual([first.discrepancy]);
});

test("of entries with the same reference only the greatest counts", async () => {
  const order = await placeOrder(shop, [1n]);
  const [paymentId = ""] = await insertPayments(order.id, [{}]);
  for (const amount of [100, 90]) {
    await shop.database.query(
      `insert into ledger_entry (id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, created_at)
       values (gen_random_uuid(), $1, $2, 'stripe', 'CAPTURED', 'ch_1', $3, 'EUR', 'WEBHOOK', now())`,
      [order.id, paymentId, amount],
    );
  }
  const { entries } = await shop.payments.listLedgerEntries({ paymentId });
  expect(entries.map(({ amount, counts }) => [amount?.minorUnits, counts]).sort()).toEqual([
    [100n, true],
    [90n, false],
  ]);
});

test.each([
  ["NotFound", "PAYMENT_NOT_FOUND", () => shop.payments.getPayment({ id: randomUUID() })],
  ["NotFound", "ORDER_NOT_FOUND", () => shop.payments.listPayments({ orderId: randomUUID() })],
  ["InvalidArgument", "FIELD_REQUIRED", () => shop.payments.listLedgerEntries({})],
  [
    "NotFound",
    "DISCREPANCY_NOT_FOUND",
    () => shop.payments.resolveLedgerDiscrepancy({ id: randomUUID(), resolution: "none" }),
  ],
] as const)("an unknown resource fails with %s %s", async (code, reason, call) => {
  expect(await failureOf(call())).toMatchObject({ code, reason });
});
