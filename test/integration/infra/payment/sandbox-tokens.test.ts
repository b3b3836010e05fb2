import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eur } from "../../../support/payments/gateway-under-test.ts";
import { callsOf, errorOf, rejectionOf } from "../../../support/payments/sandbox-calls.ts";
import {
  factsOf,
  NO_LIMITS,
  openSandbox,
  type SandboxFixture,
} from "../../../support/payments/sandbox-fixture.ts";

let fixture: SandboxFixture;
let calls: ReturnType<typeof callsOf>;

beforeAll(async () => {
  fixture = await openSandbox();
  calls = callsOf(fixture.sandbox);
});
afterAll(() => fixture.close());

test("sandbox_ok is authorized, and captured with the order if requested", async () => {
  const authorized = await fixture.create("sandbox_ok");
  expect(factsOf(authorized)).toEqual([["AUTHORIZED", 1_000n]]);
  expect(authorized.facts[0]?.reference).toBe(authorized.reference);
  expect(authorized.step).toBeUndefined();
  const captured = await fixture.create("sandbox_ok", { capture: "AT_ORDER" });
  expect(factsOf(captured)).toEqual([["CAPTURED", 1_000n]]);
});

test("sandbox_declined fails, and another method succeeds afterwards", async () => {
  const declined = await fixture.create("sandbox_declined");
  expect(declined).toMatchObject({ step: "FAILED", failure: { code: "declined" } });
  expect(factsOf(declined)).toEqual([["AUTHORIZATION_FAILED", 1_000n]]);
  const confirmed = await calls.confirm(declined, "sandbox_ok");
  expect(factsOf(confirmed)).toEqual([
    ["AUTHORIZATION_FAILED", 1_000n],
    ["AUTHORIZED", 1_000n],
  ]);
  expect(confirmed.failure).toBeUndefined();
});

test("without a token the client confirms the payment by its secret", async () => {
  const created = await fixture.create("");
  expect(created).toMatchObject({ step: "ACTION_REQUIRED", facts: [] });
  expect(created.clientSecret).toMatch(/^sp_[\da-f-]{36}_secret_[\da-f]{32}$/);
  expect(factsOf(await calls.confirm(created, "sandbox_ok"))).toEqual([["AUTHORIZED", 1_000n]]);
});

test("sandbox_second_step waits for its result", async () => {
  const created = await fixture.create("sandbox_second_step");
  expect(created).toMatchObject({ step: "ACTION_REQUIRED", facts: [] });
  const failed = await calls.confirm(created, "sandbox_second_step_failed");
  expect(failed).toMatchObject({ step: "FAILED", failure: { message: "The second step failed." } });
  expect(await rejectionOf(calls.confirm(failed, "sandbox_second_step_ok"))).toBe("no_second_step");
  expect(await calls.confirm(failed, "sandbox_second_step")).toMatchObject({ step: "ACTION_REQUIRED" });
  const done = await calls.confirm(failed, "sandbox_second_step_ok");
  expect(factsOf(done).at(-1)).toEqual(["AUTHORIZED", 1_000n]);
});

test("the result of a second step is rejected without one", async () => {
  expect(await rejectionOf(fixture.create("sandbox_second_step_ok"))).toBe("no_second_step");
  expect(await rejectionOf(calls.confirm(await fixture.create(""), "sandbox_second_step_ok"))).toBe(
    "no_second_step",
  );
});

test("sandbox_timeout gets no response, and has succeeded", async () => {
  const paymentId = randomUUID();
  const limits = { ...NO_LIMITS, timeoutMs: 300 };
  expect(await errorOf(fixture.create("sandbox_timeout", { paymentId, limits }))).toMatchObject({
    kind: "UNKNOWN",
    code: "timeout",
  });
  const fetched = await calls.fetchPayment(paymentId);
  expect(fetched && factsOf(fetched)).toEqual([["AUTHORIZED", 1_000n]]);
});

test("sandbox_error_after fails after each first execution, and responds to the repeat", async () => {
  const options = { paymentId: randomUUID(), orderId: randomUUID() };
  const failure = { kind: "UNKNOWN", code: "internal_error" };
  expect(await errorOf(fixture.create("sandbox_error_after", options))).toMatchObject(failure);
  const created = await fixture.create("sandbox_error_after", options);
  expect(factsOf(created)).toEqual([["AUTHORIZED", 1_000n]]);
  const id = randomUUID();
  expect(await errorOf(calls.capture(created, 1_000n, { id }))).toMatchObject(failure);
  expect(factsOf(await calls.capture(created, 1_000n, { id }))).toEqual([
    ["AUTHORIZED", 1_000n],
    ["CAPTURED", 1_000n],
  ]);
});

test.each([
  ["sandbox_dispute", ["DISPUTED"]],
  ["sandbox_dispute_won", ["DISPUTED", "DISPUTE_WON"]],
  ["sandbox_dispute_lost", ["DISPUTED", "DISPUTE_LOST"]],
])("%s is disputed after the response to its capture", async (token, disputes) => {
  for (const method of ["AT_ORDER", "AT_SHIPMENT"] as const) {
    const created = await fixture.create(token, { capture: method });
    const captured = method === "AT_ORDER" ? created : await calls.capture(created);
    expect(captured.facts.at(-1)?.type).toBe("CAPTURED");
    const facts = (await calls.fetchPayment(created.paymentId))?.facts.slice(captured.facts.length) ?? [];
    expect(facts.map(({ type }) => type)).toEqual(disputes);
    expect(new Set(facts.map(({ reference }) => reference)).size).toBe(1);
  }
});

test("sandbox_capture_declined states the failed capture, which stays authorized", async () => {
  const created = await fixture.create("sandbox_capture_declined");
  const id = randomUUID();
  const report = await calls.capture(created, 1_000n, { id });
  expect(report.facts.at(-1)).toMatchObject({ type: "CAPTURE_FAILED", reference: id, requestId: id });
  expect(factsOf(await calls.cancel(created)).at(-1)).toEqual(["VOIDED", 1_000n]);
  const atOrder = await fixture.create("sandbox_capture_declined", { capture: "AT_ORDER" });
  expect(atOrder.step).toBe("FAILED");
});

test("sandbox_refund_failed states the refund in the response, and its failure afterwards", async () => {
  const created = await fixture.create("sandbox_refund_failed", { capture: "AT_ORDER" });
  const id = randomUUID();
  const report = await calls.refund(created, 400n, id);
  expect(factsOf(report).slice(1)).toEqual([["REFUNDED", 400n]]);
  const fetched = await calls.fetchPayment(created.paymentId);
  expect(fetched?.facts.at(-1)).toMatchObject({
    type: "REFUND_FAILED",
    requestId: id,
    amount: eur(400n),
  });
  expect(fetched?.totals).toEqual({ captured: 1_000n, refunded: 0n });
});

test("an unknown token is rejected, and is not repeated in the message", async () => {
  const error = await errorOf(fixture.create("4242424242424242"));
  expect(error).toMatchObject({ kind: "REJECTED", code: "unknown_payment_method" });
  expect(error.message).not.toContain("4242");
});
