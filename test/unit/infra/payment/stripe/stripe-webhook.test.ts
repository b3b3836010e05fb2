import { describe, expect, test } from "vitest";
import { InvalidWebhookError } from "../../../../../src/infra/payment/payment-gateway.ts";
import { readStripeEvent } from "../../../../../src/infra/payment/stripe/stripe-webhook.ts";

const CREATED = 1_764_590_400;
const PAYMENT_ID = "019aa000-0000-7000-8000-000000000001";

function event(type: string, object: unknown, changes: object = {}): Buffer {
  const value = { id: "evt_1", object: "event", type, created: CREATED, data: { object }, ...changes };
  return Buffer.from(JSON.stringify(value));
}

function intent(changes: object = {}): object {
  return {
    id: "pi_1",
    object: "payment_intent",
    amount: 1_000,
    amount_received: 0,
    currency: "eur",
    status: "requires_capture",
    capture_method: "manual",
    client_secret: "pi_1_secret_2",
    latest_charge: "ch_1",
    metadata: { cartwright_payment: PAYMENT_ID },
    ...changes,
  };
}

const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
const time = new Date(CREATED * 1_000);

describe("readStripeEvent", () => {
  test("an authorization is a fact under the reference of the PaymentIntent", () => {
    expect(readStripeEvent(event("payment_intent.amount_capturable_updated", intent()))).toEqual({
      id: "evt_1",
      type: "payment_intent.amount_capturable_updated",
      createTime: time,
      report: {
        paymentId: PAYMENT_ID,
        reference: "pi_1",
        amount: eur(1_000n),
        facts: [{ type: "AUTHORIZED", reference: "pi_1", amount: eur(1_000n), time }],
      },
    });
  });

  test("webhooks state no step and no secret, since they arrive in any order", () => {
    const body = event("payment_intent.requires_action", intent({ status: "requires_action" }));
    const { report } = readStripeEvent(body);
    expect(report).toEqual({ paymentId: PAYMENT_ID, reference: "pi_1", amount: eur(1_000n), facts: [] });
    expect(JSON.stringify(report?.facts)).not.toContain("secret");
  });

  test("our capture has the reference and the amount of our metadata", () => {
    const metadata = {
      cartwright_payment: PAYMENT_ID,
      cartwright_capture: "capture-2",
      cartwright_capture_amount: "300",
    };
    const several = { payment_method_options: { card: { request_multicapture: "if_available" } } };
    const partly = intent({ amount_received: 700, metadata, ...several });
    const captured = (body: Buffer) =>
      readStripeEvent(body).report?.facts.find(({ type }) => type === "CAPTURED");
    expect(captured(event("payment_intent.amount_capturable_updated", partly))).toEqual({
      type: "CAPTURED",
      reference: "capture-2",
      requestId: "capture-2",
      amount: eur(300n),
      time,
    });
    // With one capture the received amount is what was captured, whatever was requested.
    const once = intent({ status: "succeeded", amount_received: 700, metadata });
    expect(captured(event("payment_intent.succeeded", once))).toMatchObject({ amount: eur(700n) });
    const implausible = intent({ amount_received: 200, metadata, ...several });
    expect(captured(event("payment_intent.succeeded", implausible))).toMatchObject({ amount: eur(200n) });
  });

  test("a foreign capture has the reference of the charge", () => {
    const object = intent({ status: "succeeded", capture_method: "automatic", amount_received: 1_000 });
    expect(readStripeEvent(event("payment_intent.succeeded", object)).report?.facts).toEqual([
      { type: "CAPTURED", reference: "ch_1", amount: eur(1_000n), time },
    ]);
  });

  test("a failed attempt has the reference of its charge, or of its payment method", () => {
    const failed = (error: object) =>
      readStripeEvent(
        event(
          "payment_intent.payment_failed",
          intent({ status: "requires_payment_method", last_payment_error: error }),
        ),
      ).report;
    expect(failed({ code: "card_declined", message: "Declined.", charge: "ch_2" })?.facts).toEqual([
      { type: "AUTHORIZATION_FAILED", reference: "ch_2", amount: eur(1_000n), note: "Declined.", time },
    ]);
    expect(failed({ code: "x", payment_method: { id: "pm_1" } })?.facts[0]?.reference).toBe("pi_1 pm_1");
    expect(failed({ code: "x" })?.facts[0]?.reference).toBe("pi_1");
  });

  test("a cancelled PaymentIntent voids what was not captured", () => {
    const object = intent({ status: "canceled" });
    expect(readStripeEvent(event("payment_intent.canceled", object)).report?.facts).toEqual([
      { type: "VOIDED", reference: "pi_1", amount: eur(1_000n), time },
    ]);
  });

  const refund = {
    id: "re_1",
    object: "refund",
    amount: 300,
    currency: "eur",
    created: CREATED - 60,
    payment_intent: "pi_1",
    metadata: { cartwright_payment: PAYMENT_ID, cartwright_refund: "refund-1" },
  };
  test.each([
    { type: "refund.created", status: "pending", fact: "REFUNDED" },
    { type: "refund.created", status: "succeeded", fact: "REFUNDED" },
    { type: "refund.updated", status: "requires_action", fact: "REFUNDED" },
    { type: "refund.updated", status: "canceled", fact: "REFUND_FAILED" },
    { type: "refund.failed", status: "failed", fact: "REFUND_FAILED" },
  ])("a refund that is $status is $fact", ({ type, status, fact }) => {
    expect(readStripeEvent(event(type, { ...refund, status })).report).toEqual({
      paymentId: PAYMENT_ID,
      reference: "pi_1",
      facts: [
        {
          type: fact,
          reference: "re_1",
          requestId: "refund-1",
          amount: eur(300n),
          time: new Date((CREATED - 60) * 1_000),
        },
      ],
    });
  });

  test("a refund of others names the PaymentIntent only", () => {
    const report = readStripeEvent(
      event("refund.created", { ...refund, metadata: {}, status: "succeeded" }),
    ).report;
    expect(report).toMatchObject({ paymentId: "", reference: "pi_1" });
    expect(report?.facts[0]).not.toHaveProperty("requestId");
    expect(
      readStripeEvent(event("refund.created", { ...refund, payment_intent: null })).report,
    ).toBeUndefined();
  });

  const dispute = {
    id: "dp_1",
    object: "dispute",
    amount: 1_000,
    currency: "eur",
    created: CREATED,
    payment_intent: "pi_1",
    reason: "fraudulent",
  };
  test.each([
    { type: "charge.dispute.created", status: "warning_needs_response", facts: [] },
    { type: "charge.dispute.closed", status: "warning_closed", facts: [] },
    { type: "charge.dispute.closed", status: "prevented", facts: [] },
    { type: "charge.dispute.created", status: "needs_response", facts: ["DISPUTED"] },
    { type: "charge.dispute.updated", status: "under_review", facts: ["DISPUTED"] },
    { type: "charge.dispute.closed", status: "won", facts: ["DISPUTED", "DISPUTE_WON"] },
    { type: "charge.dispute.closed", status: "lost", facts: ["DISPUTED", "DISPUTE_LOST"] },
  ])("a dispute that is $status states $facts", ({ type, status, facts }) => {
    const { report } = readStripeEvent(event(type, { ...dispute, status }));
    expect(report).toMatchObject({ paymentId: "", reference: "pi_1" });
    expect(report?.facts.map((fact) => fact.type)).toEqual(facts);
    for (const fact of report?.facts ?? [])
      expect(fact).toMatchObject({ reference: "dp_1", amount: eur(1_000n) });
  });

  test.each(["charge.succeeded", "charge.refunded", "payment_intent.created", "customer.created", "v9.new"])(
    "%s has no report",
    (type) => {
      expect(readStripeEvent(event(type, { anything: true }))).toMatchObject({
        id: "evt_1",
        type,
        report: undefined,
      });
    },
  );

  test.each([
    { name: "no JSON", body: Buffer.from("{") },
    { name: "an empty body", body: Buffer.alloc(0) },
    { name: "an array", body: Buffer.from("[]") },
    { name: "no id", body: event("payment_intent.succeeded", intent(), { id: undefined }) },
    { name: "a long id", body: event("payment_intent.succeeded", intent(), { id: "e".repeat(201) }) },
    { name: "a long type", body: event("x".repeat(101), {}) },
    { name: "NUL in the id", body: event("customer.created", {}, { id: "evt_\0" }) },
    { name: "NUL in the type", body: event("customer.\0", {}) },
    { name: "NUL in an id of the object", body: event("payment_intent.succeeded", intent({ id: "pi_\0" })) },
    {
      name: "NUL in a reason",
      body: event("charge.dispute.created", { ...dispute, status: "won", reason: "\0" }),
    },
    {
      name: "a lone surrogate",
      body: event("payment_intent.succeeded", intent({ client_secret: "\ud800" })),
    },
    { name: "a time after the year 9999", body: event("customer.created", {}, { created: 253_402_300_800 }) },
    { name: "another object", body: event("payment_intent.succeeded", refund) },
    {
      name: "an amount that is no integer",
      body: event("payment_intent.succeeded", intent({ amount: 10.5 })),
    },
    { name: "an amount below 0", body: event("payment_intent.succeeded", intent({ amount: -1 })) },
    { name: "an amount past 2^53", body: event("payment_intent.succeeded", intent({ amount: 2 ** 53 })) },
    {
      name: "a fraction of a minor unit",
      body: event("payment_intent.succeeded", intent({ amount: 150, currency: "isk" })),
    },
    { name: "a currency in capitals", body: event("payment_intent.succeeded", intent({ currency: "EUR" })) },
  ])("$name cannot be read", ({ body }) => {
    expect(() => readStripeEvent(body)).toThrow(InvalidWebhookError);
  });
});
