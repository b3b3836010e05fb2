import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  type PaymentFixture,
  responseOf,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { createLedgerReads, type LedgerReads } from "../../../support/payments/ledger-reads.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let ledger: LedgerReplica;
let stored: LedgerReads;
const errors: unknown[] = [];
const log: Log = { ...silentLog, error: (fields, message) => void errors.push({ ...fields, message }) };
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database, log);
  stored = createLedgerReads(shop.database);
});
beforeEach(() => void errors.splice(0));
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

/** Places an order of EUR 20.00 with a payment. */
async function createPayment(fixture: PaymentFixture = {}): Promise<TestPayment> {
  const { id } = await placeOrder(shop, [2n]);
  return insertPayment(shop.database, id, fixture);
}

describe("what contradicts the ledger", () => {
  test("is another amount of a fact: both are stored, the greatest counts, and one discrepancy is open", async () => {
    const payment = await createPayment();
    const reference = `ch_${payment.id}`;
    const capture = (minorUnits: bigint) =>
      webhookOf(payment, [factOf(payment, "CAPTURED", { reference, minorUnits })]);
    for (const minorUnits of [1_500n, 1_400n, 2_000n]) await ledger.writer.apply(capture(minorUnits));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(3);
    expect(await stored.order(payment)).toMatchObject({
      payment_state: "PAID",
      paid_minor: "2000",
      version: 4,
    });
    expect(await stored.discrepancies(payment)).toEqual([
      { kind: "AMOUNT_CONFLICT", reference, expected: "1500", actual: "1400" },
    ]);
    expect(errors).toEqual([
      expect.objectContaining({
        message: "Ledger discrepancy found",
        kind: "AMOUNT_CONFLICT",
        orderId: payment.orderId,
        paymentId: payment.id,
        reference,
      }),
    ]);
    const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment.id });
    expect(entries.map(({ amount, counts }) => [amount?.minorUnits, counts])).toEqual([
      [1_500n, false],
      [1_400n, false],
      [2_000n, true],
    ]);
  });

  test("is another currency: the fact is stored and does not count", async () => {
    const payment = await createPayment();
    const fact = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}`, currency: "USD" });
    await ledger.writer.apply(webhookOf(payment, [fact]));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(1);
    expect(await stored.order(payment)).toMatchObject({
      payment_state: "UNPAID",
      paid_minor: "0",
      version: 1,
    });
    expect(await stored.payment(payment)).toMatchObject({ state: "PENDING", captured_minor: "0" });
    expect(await stored.discrepancies(payment)).toMatchObject([{ kind: "CURRENCY_MISMATCH" }]);
    const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment.id });
    expect(entries.map(({ counts }) => counts)).toEqual([false]);
  });

  test("is an authorization of another amount than was requested", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(webhookOf(payment, [factOf(payment, "AUTHORIZED", { minorUnits: 1n })]));
    expect(await stored.order(payment)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await stored.discrepancies(payment)).toMatchObject([
      { kind: "AMOUNT_CONFLICT", expected: "2000", actual: "1" },
    ]);
  });

  test("is a payment that does not exist: its facts are stored once, without an order", async () => {
    const unknown = {
      id: randomUUID(),
      orderId: "",
      reference: `pi_${randomUUID()}`,
      minorUnits: 5n,
      currency: "EUR",
    };
    const report = webhookOf(unknown, [factOf(unknown, "CAPTURED")]);
    for (let times = 0; times < 3; times += 1) {
      expect(await ledger.writer.apply(report)).toEqual({ outcome: "APPLIED", payment: undefined });
    }
    const entries = await shop.database.query(
      "select order_id, payment_id, amount_minor from ledger_entry where reference = $1",
      [unknown.reference],
    );
    expect(entries).toEqual([{ order_id: null, payment_id: null, amount_minor: "5" }]);
    const found = await shop.database.query(
      "select kind, order_id from payment_discrepancy where reference = $1",
      [unknown.reference],
    );
    expect(found).toEqual([{ kind: "UNKNOWN_PAYMENT", order_id: null }]);
    expect(errors).toHaveLength(1);
  });

  test("is an id that is none, such as that of another system", async () => {
    const unknown = {
      id: "order 7",
      orderId: "",
      reference: `pi_${randomUUID()}`,
      minorUnits: 5n,
      currency: "EUR",
    };
    const fact = factOf(unknown, "CAPTURED", { requestId: "none" });
    expect(await ledger.writer.apply(webhookOf(unknown, [fact]))).toMatchObject({ outcome: "APPLIED" });
    expect(errors).toMatchObject([{ kind: "UNKNOWN_PAYMENT" }]);
  });

  test("is a response about another payment: its facts are that payment's, and the one in doubt stays so", async () => {
    const [asked, other] = [await createPayment({ reference: null }), await createPayment()];
    const report = responseOf(other, [factOf(other, "AUTHORIZED")], {
      step: "PENDING",
      clientSecret: "other",
    });
    const { payment } = await ledger.writer.apply({ ...report, paymentId: asked.id });
    expect(payment).toMatchObject({ id: asked.id, state: "PENDING", inDoubt: true, reference: "" });
    expect(await stored.order(asked)).toMatchObject({ payment_state: "UNPAID", version: 1 });
    expect(await stored.order(other)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await stored.payment(other)).toMatchObject({ client_secret: null, check_reason: "DOUBT" });
    expect(await stored.discrepancies(asked)).toMatchObject([
      { kind: "WRONG_PAYMENT", reference: other.reference },
    ]);
  });

  test("is the reference of another payment with the id of this one: nothing is counted twice", async () => {
    const [asked, other] = [await createPayment({ reference: null }), await createPayment()];
    const facts = [factOf(other, "AUTHORIZED")];
    await ledger.writer.apply(webhookOf(other, facts));
    await ledger.writer.apply(responseOf({ id: asked.id, reference: other.reference }, facts));
    expect(await stored.payment(asked)).toMatchObject({
      reference: null,
      state: "PENDING",
      check_reason: "DOUBT",
    });
    expect(await rowsOf(shop.database, "ledger_entry", asked)).toEqual([]);
    expect(await stored.discrepancies(asked)).toMatchObject([{ kind: "WRONG_PAYMENT" }]);
  });

  test("is a second reference of a payment: its money counts, since it was taken", async () => {
    const payment = await createPayment();
    const second = `pi_second_${payment.id}`;
    const facts = [factOf(payment, "AUTHORIZED", { reference: second })];
    await ledger.writer.apply(webhookOf({ id: payment.id, reference: second }, facts));
    expect(await stored.payment(payment)).toMatchObject({
      reference: payment.reference,
      authorized_minor: "2000",
    });
    expect(await stored.discrepancies(payment)).toMatchObject([{ kind: "WRONG_PAYMENT", reference: second }]);
  });
});
