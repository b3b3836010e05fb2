import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  captureOf,
  factOf,
  responseOf,
  rowsOf,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
beforeEach(() => void shop.lines.splice(0));
afterAll(() => shop.close());

describe("what contradicts the ledger", () => {
  test("is another amount of a fact: both are stored, the greatest counts, and one discrepancy is open", async () => {
    const payment = await shop.placePayment();
    const reference = `ch_${payment.id}`;
    for (const minorUnits of [1_500n, 1_400n, 2_000n]) {
      await shop.applyFacts(payment, captureOf(payment, minorUnits));
    }
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(3);
    expect(await shop.stored.order(payment)).toMatchObject({
      payment_state: "PAID",
      paid_minor: "2000",
      version: 4,
    });
    expect(await shop.stored.discrepancies(payment)).toEqual([
      { kind: "AMOUNT_CONFLICT", reference, expected: "1500", actual: "1400" },
    ]);
    const { id: paymentId, orderId } = payment;
    expect(shop.lines).toMatchObject([
      {
        level: "error",
        message: "Ledger discrepancy found",
        fields: { kind: "AMOUNT_CONFLICT", orderId, paymentId, reference },
      },
    ]);
    const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment.id });
    expect(entries.map(({ amount, counts }) => [amount?.minorUnits, counts])).toEqual([
      [1_500n, false],
      [1_400n, false],
      [2_000n, true],
    ]);
  });

  test("is another currency: the fact is stored and does not count", async () => {
    const payment = await shop.placePayment();
    const fact = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}`, currency: "USD" });
    await shop.ledger.writer.apply(webhookOf(payment, [fact]));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(1);
    expect(await shop.stored.order(payment)).toMatchObject({
      payment_state: "UNPAID",
      paid_minor: "0",
      version: 1,
    });
    expect(await shop.stored.payment(payment)).toMatchObject({ state: "PENDING", captured_minor: "0" });
    expect(await shop.stored.discrepancies(payment)).toMatchObject([{ kind: "CURRENCY_MISMATCH" }]);
    const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment.id });
    expect(entries.map(({ counts }) => counts)).toEqual([false]);
  });

  test("is an authorization of another amount than was requested", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(webhookOf(payment, [factOf(payment, "AUTHORIZED", { minorUnits: 1n })]));
    expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await shop.stored.discrepancies(payment)).toMatchObject([
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
      expect(await shop.ledger.writer.apply(report)).toEqual({ outcome: "APPLIED", payment: undefined });
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
    expect(shop.lines).toMatchObject([{ level: "error", fields: { kind: "UNKNOWN_PAYMENT" } }]);
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
    expect(await shop.ledger.writer.apply(webhookOf(unknown, [fact]))).toMatchObject({ outcome: "APPLIED" });
    expect(shop.lines).toMatchObject([{ level: "error", fields: { kind: "UNKNOWN_PAYMENT" } }]);
  });

  test("is a response about another payment: its facts are that payment's, and the one in doubt stays so", async () => {
    const [asked, other] = [await shop.placePayment({ reference: null }), await shop.placePayment()];
    const report = responseOf(other, [factOf(other, "AUTHORIZED")], {
      step: "PENDING",
      clientSecret: "other",
    });
    const { payment } = await shop.ledger.writer.apply({ ...report, paymentId: asked.id });
    expect(payment).toMatchObject({ id: asked.id, state: "PENDING", inDoubt: true, reference: "" });
    expect(await shop.stored.order(asked)).toMatchObject({ payment_state: "UNPAID", version: 1 });
    expect(await shop.stored.order(other)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await shop.stored.payment(other)).toMatchObject({ client_secret: null, check_reason: "DOUBT" });
    expect(await shop.stored.discrepancies(asked)).toMatchObject([
      { kind: "WRONG_PAYMENT", reference: other.reference },
    ]);
  });

  test("is the reference of another payment with the id of this one: nothing is counted twice", async () => {
    const [asked, other] = [await shop.placePayment({ reference: null }), await shop.placePayment()];
    const facts = [factOf(other, "AUTHORIZED")];
    await shop.ledger.writer.apply(webhookOf(other, facts));
    await shop.ledger.writer.apply(responseOf({ id: asked.id, reference: other.reference }, facts));
    expect(await shop.stored.payment(asked)).toMatchObject({
      reference: null,
      state: "PENDING",
      check_reason: "DOUBT",
    });
    expect(await rowsOf(shop.database, "ledger_entry", asked)).toEqual([]);
    expect(await shop.stored.discrepancies(asked)).toMatchObject([{ kind: "WRONG_PAYMENT" }]);
  });

  test("is a second reference of a payment: its money counts, since it was taken", async () => {
    const payment = await shop.placePayment();
    const second = `pi_second_${payment.id}`;
    const facts = [factOf(payment, "AUTHORIZED", { reference: second })];
    await shop.ledger.writer.apply(webhookOf({ id: payment.id, reference: second }, facts));
    expect(await shop.stored.payment(payment)).toMatchObject({
      reference: payment.reference,
      authorized_minor: "2000",
    });
    expect(await shop.stored.discrepancies(payment)).toMatchObject([
      { kind: "WRONG_PAYMENT", reference: second },
    ]);
  });
});
