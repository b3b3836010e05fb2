import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  captureOf,
  factOf,
  responseOf,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
beforeEach(() => void shop.lines.splice(0));
afterAll(() => shop.close());

async function eventsOf({ orderId }: TestPayment): Promise<unknown[]> {
  return shop.database.query("select type, details from order_event where order_id = $1 order by sequence", [
    orderId,
  ]);
}

describe("a response", () => {
  test("sets what the gateway states, and ends the doubt about the payment", async () => {
    const payment = await shop.placePayment({ reference: null });
    const captureBefore = new Date("2030-01-02T03:04:05Z");
    const statement = { step: "ACTION_REQUIRED", clientSecret: "secret", captureBefore } as const;
    const { outcome, payment: after } = await shop.ledger.writer.apply(responseOf(payment, [], statement));
    expect(outcome).toBe("APPLIED");
    expect(after).toMatchObject({
      state: "ACTION_REQUIRED",
      clientSecret: "secret",
      captureBefore,
      inDoubt: false,
      reference: payment.reference,
    });
    expect(await shop.stored.payment(payment)).toMatchObject({
      check_reason: "SETTLE",
      method_token: null,
      is_open: true,
    });
    expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "UNPAID", version: 1 });
  });

  test("of facts is one change of the order, with the event of the most important one", async () => {
    const payment = await shop.placePayment();
    const captured = captureOf(payment);
    const report = responseOf(payment, [factOf(payment, "AUTHORIZED"), captured]);
    const { payment: after } = await shop.ledger.writer.apply(report);
    expect(after).toMatchObject({ state: "CAPTURED", captured: { minorUnits: 2_000n } });
    expect(await shop.stored.order(payment)).toEqual({
      payment_state: "PAID",
      paid_minor: "2000",
      refunded_minor: "0",
      version: 2,
    });
    const { id: paymentId } = payment;
    expect(await eventsOf(payment)).toEqual([
      {
        type: "PAID",
        details: {
          paymentId,
          amount: "2000",
          entries: [
            { type: "AUTHORIZED", paymentId, amount: "2000" },
            { type: "CAPTURED", paymentId, amount: "2000" },
          ],
        },
      },
    ]);
    // Its webhook states the same.
    await shop.ledger.writer.apply(webhookOf(payment, [captured, factOf(payment, "AUTHORIZED")]));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(2);
    expect(await shop.stored.order(payment)).toMatchObject({ version: 2 });
  });

  test("that a payment is cancelled cannot be revoked by a late response to its creation", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(responseOf(payment, [], { step: "CANCELLED" }));
    const { payment: after } = await shop.ledger.writer.apply(
      responseOf(payment, [], { step: "ACTION_REQUIRED" }),
    );
    expect(after?.state).toBe("CANCELLED");
    expect(await shop.stored.payment(payment)).toMatchObject({ step: "CANCELLED", is_open: false });
  });

  test.each(["RESPONSE", "FETCH"] as const)(
    "a payment that the gateway did not find is looked for once more (%s)",
    async (source) => {
      const payment = await shop.placePayment({ reference: null });
      const report = responseOf({ id: payment.id, reference: "" }, [], { step: "CANCELLED" });
      await shop.ledger.writer.apply({ ...report, source });
      expect(await shop.stored.payment(payment)).toMatchObject({ step: "CANCELLED", check_reason: "SETTLE" });
      await shop.ledger.writer.apply({ ...report, source: "FETCH" });
      expect(await shop.stored.payment(payment)).toMatchObject({ step: "CANCELLED", check_reason: null });
    },
  );

  test("that the creation was rejected makes the payment fail without an entry", async () => {
    const payment = await shop.placePayment({ reference: null });
    const failure = { code: "amount_too_small", message: "The amount is too small." };
    const report = responseOf({ id: payment.id, reference: "" }, [], { step: "FAILED", failure });
    const { payment: after } = await shop.ledger.writer.apply(report);
    expect(after).toMatchObject({ state: "FAILED", failure, inDoubt: false, reference: "" });
    expect(await shop.stored.payment(payment)).toMatchObject({ is_open: false, check_at: null });
    expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "UNPAID", version: 1 });
  });
});

test("a webhook changes no step, since webhooks arrive in any order", async () => {
  const payment = await shop.placePayment();
  await shop.ledger.writer.apply(responseOf(payment, [], { step: "ACTION_REQUIRED" }));
  const declined = factOf(payment, "AUTHORIZATION_FAILED", { reference: `ch_${payment.id}` });
  const { payment: after } = await shop.ledger.writer.apply(
    webhookOf(payment, [declined], { step: "CANCELLED" }),
  );
  expect(after?.state).toBe("ACTION_REQUIRED");
});

test("a payment that has failed and then succeeds is authorized, and shows no failure", async () => {
  const payment = await shop.placePayment();
  const failure = { code: "card_declined", message: "The card was declined." };
  const declined = factOf(payment, "AUTHORIZATION_FAILED", { reference: `ch_${payment.id}` });
  const failed = await shop.ledger.writer.apply(webhookOf(payment, [declined], { failure }));
  expect(failed.payment).toMatchObject({ state: "FAILED", failure });
  expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "FAILED" });
  const { payment: after } = await shop.ledger.writer.apply(
    webhookOf(payment, [factOf(payment, "AUTHORIZED")]),
  );
  expect(after).toMatchObject({ state: "AUTHORIZED", failure: undefined });
  expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "AUTHORIZED" });
  // Another payment may have been created meanwhile.
  expect(await shop.stored.payment(payment)).toMatchObject({ is_open: false });
});

test("a report about a payment that others have made is ignored", async () => {
  const foreign = { id: "", orderId: "", reference: `pi_${randomUUID()}`, minorUnits: 5n, currency: "EUR" };
  const report = webhookOf(foreign, [factOf(foreign, "CAPTURED")]);
  expect(await shop.ledger.writer.apply(report)).toEqual({ outcome: "IGNORED", payment: undefined });
  const entries = await shop.database.query("select from ledger_entry where reference = $1", [
    foreign.reference,
  ]);
  expect(entries).toEqual([]);
  expect(shop.lines).toEqual([]);
});

test("the webhooks of reports are marked as processed with their outcome", async () => {
  const payment = await shop.placePayment();
  const eventIds = ["se_1", "se_2", "se_3"];
  await shop.database.query(
    `insert into webhook_event (gateway, event_id, type, body, received_at, retry_at, last_error)
     select 'sandbox', id, 'test', '', now(), now() + interval '1 hour', 'earlier' from unnest($1::text[]) as id`,
    [eventIds],
  );
  const fact = [factOf(payment, "AUTHORIZED")];
  const foreign = webhookOf({ id: "", reference: `pi_${randomUUID()}` }, fact);
  await Promise.all([
    shop.ledger.writer.apply({ ...webhookOf(payment, fact), eventId: "se_1" }),
    shop.ledger.writer.apply({ ...foreign, eventId: "se_2" }),
  ]);
  await shop.ledger.writer.apply({ ...webhookOf(payment, fact), eventId: "se_3" });
  expect(
    await shop.database.query(
      `select event_id, outcome, processed_at is not null as processed, last_error from webhook_event order by event_id`,
    ),
  ).toEqual([
    { event_id: "se_1", outcome: "APPLIED", processed: true, last_error: null },
    { event_id: "se_2", outcome: "IGNORED", processed: true, last_error: null },
    { event_id: "se_3", outcome: "APPLIED", processed: true, last_error: null },
  ]);
});
