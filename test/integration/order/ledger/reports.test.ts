import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  insertRequest,
  type LedgerReplica,
  openLedger,
  type PaymentFixture,
  responseOf,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let ledger: LedgerReplica;
const errors: unknown[] = [];
const log: Log = { ...silentLog, error: (fields, message) => void errors.push({ ...fields, message }) };
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database, log);
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

async function storedPayment({ id }: Pick<TestPayment, "id">): Promise<Record<string, unknown>> {
  const [row = {}] = await shop.database.query<Record<string, unknown>>(
    "select * from payment where id = $1",
    [id],
  );
  return row;
}

async function storedOrder({ orderId }: TestPayment): Promise<Record<string, unknown>> {
  const [row = {}] = await shop.database.query<Record<string, unknown>>(
    "select payment_state, paid_minor, refunded_minor, version from orders where id = $1",
    [orderId],
  );
  return row;
}

async function eventsOf({ orderId }: TestPayment): Promise<unknown[]> {
  return shop.database.query("select type, details from order_event where order_id = $1 order by sequence", [
    orderId,
  ]);
}

async function discrepanciesOf(payment: Pick<TestPayment, "id">): Promise<unknown[]> {
  return (await rowsOf(shop.database, "payment_discrepancy", payment)).map(
    ({ kind, reference, expected_minor: expected, actual_minor: actual }) => ({
      kind,
      reference,
      expected,
      actual,
    }),
  );
}

describe("a response", () => {
  test("sets what the gateway states, and ends the doubt about the payment", async () => {
    const payment = await createPayment({ reference: null });
    const captureBefore = new Date("2030-01-02T03:04:05Z");
    const statement = { step: "ACTION_REQUIRED", clientSecret: "secret", captureBefore } as const;
    const { outcome, payment: after } = await ledger.writer.apply(responseOf(payment, [], statement));
    expect(outcome).toBe("APPLIED");
    expect(after).toMatchObject({
      state: "ACTION_REQUIRED",
      clientSecret: "secret",
      captureBefore,
      inDoubt: false,
      reference: payment.reference,
    });
    expect(await storedPayment(payment)).toMatchObject({
      check_reason: "SETTLE",
      method_token: null,
      is_open: true,
    });
    expect(await storedOrder(payment)).toMatchObject({ payment_state: "UNPAID", version: 1 });
  });

  test("of facts is one change of the order, with the event of the most important one", async () => {
    const payment = await createPayment();
    const captured = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` });
    const report = responseOf(payment, [factOf(payment, "AUTHORIZED"), captured]);
    const { payment: after } = await ledger.writer.apply(report);
    expect(after).toMatchObject({ state: "CAPTURED", captured: { minorUnits: 2_000n } });
    expect(await storedOrder(payment)).toEqual({
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
    await ledger.writer.apply(webhookOf(payment, [captured, factOf(payment, "AUTHORIZED")]));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(2);
    expect(await storedOrder(payment)).toMatchObject({ version: 2 });
  });

  test("that a payment is cancelled cannot be revoked by a late response to its creation", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(responseOf(payment, [], { step: "CANCELLED" }));
    const { payment: after } = await ledger.writer.apply(
      responseOf(payment, [], { step: "ACTION_REQUIRED" }),
    );
    expect(after?.state).toBe("CANCELLED");
    expect(await storedPayment(payment)).toMatchObject({ step: "CANCELLED", is_open: false });
  });

  test("that the creation was rejected makes the payment fail without an entry", async () => {
    const payment = await createPayment({ reference: null });
    const failure = { code: "amount_too_small", message: "The amount is too small." };
    const report = responseOf({ id: payment.id, reference: "" }, [], { step: "FAILED", failure });
    const { payment: after } = await ledger.writer.apply(report);
    expect(after).toMatchObject({ state: "FAILED", failure, inDoubt: false, reference: "" });
    expect(await storedPayment(payment)).toMatchObject({ is_open: false, check_at: null });
    expect(await storedOrder(payment)).toMatchObject({ payment_state: "UNPAID", version: 1 });
  });
});

test("a webhook changes no step, since webhooks arrive in any order", async () => {
  const payment = await createPayment();
  await ledger.writer.apply(responseOf(payment, [], { step: "ACTION_REQUIRED" }));
  const { payment: after } = await ledger.writer.apply(webhookOf(payment, [], { step: "PENDING" }));
  expect(after?.state).toBe("ACTION_REQUIRED");
});

test("a payment that has failed and then succeeds is authorized, and shows no failure", async () => {
  const payment = await createPayment();
  const failure = { code: "card_declined", message: "The card was declined." };
  const declined = factOf(payment, "AUTHORIZATION_FAILED", { reference: `ch_${payment.id}` });
  const failed = await ledger.writer.apply(webhookOf(payment, [declined], { failure }));
  expect(failed.payment).toMatchObject({ state: "FAILED", failure });
  expect(await storedOrder(payment)).toMatchObject({ payment_state: "FAILED" });
  const { payment: after } = await ledger.writer.apply(webhookOf(payment, [factOf(payment, "AUTHORIZED")]));
  expect(after).toMatchObject({ state: "AUTHORIZED", failure: undefined });
  expect(await storedOrder(payment)).toMatchObject({ payment_state: "AUTHORIZED" });
  // Another payment may have been created meanwhile.
  expect(await storedPayment(payment)).toMatchObject({ is_open: false });
});

describe("what contradicts the ledger", () => {
  test("is another amount of a fact: both are stored, the greatest counts, and one discrepancy is open", async () => {
    const payment = await createPayment();
    const reference = `ch_${payment.id}`;
    const capture = (minorUnits: bigint) =>
      webhookOf(payment, [factOf(payment, "CAPTURED", { reference, minorUnits })]);
    for (const minorUnits of [1_500n, 1_400n, 2_000n]) await ledger.writer.apply(capture(minorUnits));
    expect(await rowsOf(shop.database, "ledger_entry", payment)).toHaveLength(3);
    expect(await storedOrder(payment)).toMatchObject({
      payment_state: "PAID",
      paid_minor: "2000",
      version: 4,
    });
    expect(await discrepanciesOf(payment)).toEqual([
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
    expect(await storedOrder(payment)).toMatchObject({
      payment_state: "UNPAID",
      paid_minor: "0",
      version: 1,
    });
    expect(await discrepanciesOf(payment)).toMatchObject([{ kind: "CURRENCY_MISMATCH" }]);
    const { entries } = await shop.payments.listLedgerEntries({ paymentId: payment.id });
    expect(entries.map(({ counts }) => counts)).toEqual([false]);
  });

  test("is an authorization of another amount than was requested", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(webhookOf(payment, [factOf(payment, "AUTHORIZED", { minorUnits: 1n })]));
    expect(await storedOrder(payment)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await discrepanciesOf(payment)).toMatchObject([
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
    expect(await storedOrder(asked)).toMatchObject({ payment_state: "UNPAID", version: 1 });
    expect(await storedOrder(other)).toMatchObject({ payment_state: "AUTHORIZED" });
    expect(await storedPayment(other)).toMatchObject({ client_secret: null, check_reason: "DOUBT" });
    expect(await discrepanciesOf(asked)).toMatchObject([
      { kind: "WRONG_PAYMENT", reference: other.reference },
    ]);
  });

  test("is the reference of another payment with the id of this one: nothing is counted twice", async () => {
    const [asked, other] = [await createPayment({ reference: null }), await createPayment()];
    const facts = [factOf(other, "AUTHORIZED")];
    await ledger.writer.apply(webhookOf(other, facts));
    await ledger.writer.apply(responseOf({ id: asked.id, reference: other.reference }, facts));
    expect(await storedPayment(asked)).toMatchObject({
      reference: null,
      state: "PENDING",
      check_reason: "DOUBT",
    });
    expect(await rowsOf(shop.database, "ledger_entry", asked)).toEqual([]);
    expect(await discrepanciesOf(asked)).toMatchObject([{ kind: "WRONG_PAYMENT" }]);
  });

  test("is a second reference of a payment: its money counts, since it was taken", async () => {
    const payment = await createPayment();
    const second = `pi_second_${payment.id}`;
    const facts = [factOf(payment, "AUTHORIZED", { reference: second })];
    await ledger.writer.apply(webhookOf({ id: payment.id, reference: second }, facts));
    expect(await storedPayment(payment)).toMatchObject({
      reference: payment.reference,
      authorized_minor: "2000",
    });
    expect(await discrepanciesOf(payment)).toMatchObject([{ kind: "WRONG_PAYMENT", reference: second }]);
  });
});

test("a report about a payment that others have made is ignored", async () => {
  const foreign = { id: "", orderId: "", reference: `pi_${randomUUID()}`, minorUnits: 5n, currency: "EUR" };
  const report = webhookOf(foreign, [factOf(foreign, "CAPTURED")]);
  expect(await ledger.writer.apply(report)).toEqual({ outcome: "IGNORED", payment: undefined });
  const entries = await shop.database.query("select from ledger_entry where reference = $1", [
    foreign.reference,
  ]);
  expect(entries).toEqual([]);
  expect(errors).toEqual([]);
});

test("the webhooks of reports are marked as processed with their outcome", async () => {
  const payment = await createPayment();
  const eventIds = ["se_1", "se_2", "se_3"];
  await shop.database.query(
    `insert into webhook_event (gateway, event_id, type, body, received_at, last_error)
     select 'sandbox', id, 'test', '', now(), 'earlier' from unnest($1::text[]) as id`,
    [eventIds],
  );
  const fact = [factOf(payment, "AUTHORIZED")];
  const foreign = webhookOf({ id: "", reference: `pi_${randomUUID()}` }, fact);
  await Promise.all([
    ledger.writer.apply({ ...webhookOf(payment, fact), eventId: "se_1" }),
    ledger.writer.apply({ ...foreign, eventId: "se_2" }),
  ]);
  await ledger.writer.apply({ ...webhookOf(payment, fact), eventId: "se_3" });
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

describe("the sums that a gateway states when it is asked", () => {
  const fetched = (payment: TestPayment, captured: bigint, refunded = 0n) =>
    responseOf(payment, [factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` })], {
      source: "FETCH",
      totals: { captured, refunded },
    });

  test("end the checks of a settled payment if they are those of the ledger", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(fetched(payment, 2_000n));
    expect(await storedPayment(payment)).toMatchObject({ check_reason: "SETTLE" });
    await ledger.writer.apply(fetched(payment, 2_000n));
    expect(await storedPayment(payment)).toMatchObject({ check_reason: null, check_at: null });
    expect(await discrepanciesOf(payment)).toEqual([]);
  });

  test("are discrepancies if they differ", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(fetched(payment, 2_100n, 50n));
    await ledger.writer.apply(fetched(payment, 2_100n, 50n));
    expect(await discrepanciesOf(payment)).toEqual([
      { kind: "CAPTURED_MISMATCH", reference: payment.id, expected: "2000", actual: "2100" },
      { kind: "REFUNDED_MISMATCH", reference: payment.id, expected: "0", actual: "50" },
    ]);
  });

  test("are not compared while a request may change them", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(fetched(payment, 2_000n));
    await insertRequest(shop.database, payment, "REFUND", { minorUnits: 100n });
    await ledger.writer.apply(fetched(payment, 2_000n, 100n));
    expect(await discrepanciesOf(payment)).toEqual([]);
    expect(await storedPayment(payment)).toMatchObject({ check_reason: "SETTLE" });
  });

  test("do not end the checks of a payment that the buyer may still make", async () => {
    const payment = await createPayment();
    const statement = { source: "FETCH", step: "ACTION_REQUIRED" } as const;
    const { check_at } = await storedPayment(payment);
    await ledger.writer.apply(responseOf(payment, [], statement));
    expect(await storedPayment(payment)).toMatchObject({ check_reason: "SETTLE", check_at });
  });
});

describe("a request to the gateway", () => {
  const stateOf = async (id: string, table = "payment_request") =>
    (await shop.database.query<{ state: string }>(`select state from ${table} where id = $1`, [id]))[0]
      ?.state;

  test.each([
    ["CAPTURE", "CAPTURED", "DONE"],
    ["CAPTURE", "CAPTURE_FAILED", "FAILED"],
    ["CANCEL", "VOIDED", "DONE"],
  ] as const)("%s ends with the entry %s: %s", async (kind, type, state) => {
    const payment = await createPayment();
    await ledger.writer.apply(responseOf(payment, [factOf(payment, "AUTHORIZED")]));
    const requestId = await insertRequest(shop.database, payment, kind, {
      state: kind === "CANCEL" ? "OPEN" : "DEAD",
    });
    const fact = factOf(payment, type, { reference: requestId, requestId, note: "expired" });
    // The webhook is as good as the response.
    await ledger.writer.apply(webhookOf(payment, [fact]));
    expect(await stateOf(requestId)).toBe(state);
    expect(await discrepanciesOf(payment)).toEqual(
      state === "FAILED"
        ? [{ kind: "REQUEST_FAILED", reference: requestId, expected: null, actual: null }]
        : [],
    );
  });

  test("to cancel ends with the response, also if the payment is captured already", async () => {
    const payment = await createPayment();
    const requestId = await insertRequest(shop.database, payment, "CANCEL");
    const captured = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` });
    await ledger.writer.apply(responseOf(payment, [captured], { requestId }));
    expect(await stateOf(requestId)).toBe("DONE");
    expect(await storedOrder(payment)).toMatchObject({ payment_state: "PAID" });
  });

  test.each([
    ["first the refund, then its failure", ["REFUNDED", "REFUND_FAILED"]],
    ["first the failure, then the refund", ["REFUND_FAILED", "REFUNDED"]],
  ] as const)("to refund fails once a failure is known: %s", async (_name, types) => {
    const payment = await createPayment();
    await ledger.writer.apply(
      responseOf(payment, [factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` })]),
    );
    const requestId = await insertRequest(shop.database, payment, "REFUND", { minorUnits: 700n });
    const reference = `re_${payment.id}`;
    for (const type of types) {
      // Only one of the two names the request.
      const cause = type === "REFUNDED" ? { requestId } : { note: "closed account" };
      const fact = factOf(payment, type, { reference, minorUnits: 700n, ...cause });
      await ledger.writer.apply(webhookOf(payment, [fact]));
    }
    expect(await stateOf(requestId)).toBe("FAILED");
    expect(await rowsOf(shop.database, "refund", payment)).toMatchObject([
      { state: "FAILED", failure: "closed account", completed_at: expect.any(Date) },
    ]);
    expect(await storedPayment(payment)).toMatchObject({ requested_refund_minor: "0", refunded_minor: "0" });
    expect(await storedOrder(payment)).toMatchObject({ payment_state: "PAID", refunded_minor: "0" });
    expect(await discrepanciesOf(payment)).toMatchObject([{ kind: "REQUEST_FAILED", reference: requestId }]);
  });

  test("to refund succeeds with the refund, which the history names", async () => {
    const payment = await createPayment();
    await ledger.writer.apply(
      responseOf(payment, [factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` })]),
    );
    const requestId = await insertRequest(shop.database, payment, "REFUND", { minorUnits: 700n });
    const refund = { reference: `re_${payment.id}`, minorUnits: 700n, requestId };
    await ledger.writer.apply(responseOf(payment, [factOf(payment, "REFUNDED", refund)], { requestId }));
    expect(await stateOf(requestId)).toBe("DONE");
    expect(await stateOf(requestId, "refund")).toBe("SUCCEEDED");
    expect(await storedOrder(payment)).toMatchObject({
      payment_state: "PARTIALLY_REFUNDED",
      refunded_minor: "700",
    });
    const { events } = await shop.orders.listOrderEvents({ id: payment.orderId });
    expect(events.at(-1)).toMatchObject({
      paymentId: payment.id,
      refundId: requestId,
      amount: { minorUnits: 700n },
    });
  });
});
