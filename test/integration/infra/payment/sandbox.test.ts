import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_CHANGES } from "../../../../src/infra/payment/sandbox/transitions.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { callsOf, errorOf, rejectionOf } from "../../../support/payments/sandbox-calls.ts";
import {
  createWith,
  factsOf,
  NO_LIMITS,
  openSandbox,
  referenceOf,
  type SandboxFixture,
} from "../../../support/payments/sandbox-fixture.ts";
import { countLockWaits } from "../../../support/stores/database-activity.ts";

let fixture: SandboxFixture;
let calls: ReturnType<typeof callsOf>;

beforeAll(async () => {
  fixture = await openSandbox();
  calls = callsOf(fixture.sandbox);
});
afterAll(() => fixture.close());

describe("changes", () => {
  test("a final capture of a part voids the rest", async () => {
    const report = await calls.capture(await fixture.create("sandbox_ok"), 600n);
    expect(factsOf(report)).toEqual([
      ["AUTHORIZED", 1_000n],
      ["CAPTURED", 600n],
      ["VOIDED", 400n],
    ]);
    expect(await rejectionOf(calls.capture(report, 1n))).toBe("payment_not_authorized");
  });

  test("captures in parts add up to what is authorized", async () => {
    const created = await fixture.create("sandbox_ok");
    await calls.capture(created, 400n, { isFinal: false });
    expect(await rejectionOf(calls.capture(created, 601n, { isFinal: false }))).toBe("amount_out_of_range");
    await calls.capture(created, 600n, { isFinal: false });
    expect((await calls.fetchPayment(created.paymentId))?.totals).toEqual({ captured: 1_000n, refunded: 0n });
  });

  test("refunds add up to what is captured", async () => {
    const created = await fixture.create("sandbox_ok", { capture: "AT_ORDER" });
    await calls.refund(created, 999n);
    expect(await rejectionOf(calls.refund(created, 2n))).toBe("amount_out_of_range");
    expect(await rejectionOf(calls.refund(created, 0n))).toBe("amount_out_of_range");
    await calls.refund(created, 1n);
    expect((await calls.fetchPayment(created.paymentId))?.totals).toEqual({
      captured: 1_000n,
      refunded: 1_000n,
    });
  });

  test("what is disputed cannot be refunded", async () => {
    const created = await fixture.create("sandbox_dispute", { capture: "AT_ORDER" });
    expect(await rejectionOf(calls.refund(created, 1n))).toBe("amount_out_of_range");
    const won = await fixture.create("sandbox_dispute_won", { capture: "AT_ORDER" });
    expect(factsOf(await calls.refund(won, 1_000n)).at(-1)).toEqual(["REFUNDED", 1_000n]);
  });

  test("a cancelled payment states its void, and a captured one its state", async () => {
    const cancelled = await calls.cancel(await fixture.create("sandbox_ok"));
    expect(cancelled.step).toBe("CANCELLED");
    expect(factsOf(cancelled)).toEqual([
      ["AUTHORIZED", 1_000n],
      ["VOIDED", 1_000n],
    ]);
    expect(factsOf(await calls.cancel(cancelled))).toEqual(factsOf(cancelled));
    expect(factsOf(await calls.confirm(cancelled, "sandbox_ok"))).toEqual(factsOf(cancelled));
    expect(factsOf(await calls.cancel(await fixture.create("")))).toEqual([["VOIDED", 0n]]);
    const captured = await calls.capture(await fixture.create("sandbox_ok"));
    expect(factsOf(await calls.cancel(captured))).toEqual(factsOf(captured));
  });

  test("a cancellation by a key that is no id states no request", async () => {
    const report = await calls.cancel(await fixture.create("sandbox_ok"), "cancel:1");
    expect(report.facts.map(({ requestId }) => requestId)).toEqual([undefined, undefined]);
    const id = randomUUID();
    expect((await calls.cancel(await fixture.create("sandbox_ok"), id)).facts.at(-1)?.requestId).toBe(id);
  });

  test("an authorization ends after seven days", async () => {
    const created = await fixture.create("sandbox_ok");
    const hours = ((created.captureBefore?.getTime() ?? 0) - fixture.clock.now().getTime()) / 3_600_000;
    expect(hours).toBe(7 * 24);
    fixture.clock.advance(hours * 3_600_000);
    expect(factsOf(await calls.capture(created))).toEqual([
      ["AUTHORIZED", 1_000n],
      ["CAPTURE_FAILED", 1_000n],
      ["VOIDED", 1_000n],
    ]);
    expect(factsOf(await calls.cancel(created))).toHaveLength(3);
  });

  test("unknown payments and other currencies are rejected", async () => {
    const created = await fixture.create("sandbox_ok");
    expect(await rejectionOf(calls.cancel({ ...created, paymentId: randomUUID() }))).toBe(
      "payment_not_found",
    );
    expect(await rejectionOf(calls.cancel({ ...created, reference: "sp_other" }))).toBe("payment_not_found");
    const amount = { currencyCode: "JPY", minorUnits: 1n };
    const call = { ...referenceOf(created), captureId: randomUUID(), amount, isFinal: true };
    expect(await rejectionOf(fixture.sandbox.capture(call, NO_LIMITS))).toBe("currency_mismatch");
    expect(await calls.fetchPayment(randomUUID())).toBeUndefined();
  });

  test("the number of changes of a payment is limited", async () => {
    const created = await fixture.create("sandbox_ok", { capture: "AT_ORDER" });
    for (let count = 0; count < MAX_CHANGES; count += 1) await calls.refund(created, 1n);
    expect(await rejectionOf(calls.refund(created, 1n))).toBe("too_many_changes");
  });
});

describe("idempotency", () => {
  test("concurrent repeats of each request are executed once, in two processes", async () => {
    const options = { paymentId: randomUUID(), orderId: randomUUID() };
    const other = fixture.open();
    const create = () =>
      Promise.allSettled(
        [other, fixture.sandbox].flatMap((sandbox) => [
          createWith(sandbox, "sandbox_ok", options),
          createWith(sandbox, "sandbox_ok", options),
        ]),
      );
    const first = await create();
    // The process whose creation is second has nothing to respond yet.
    for (const result of first) {
      if (result.status === "rejected") expect(result.reason).toMatchObject({ kind: "UNKNOWN" });
    }
    const repeats = (await create()).map((result) =>
      result.status === "fulfilled" ? result.value.reference : result.reason,
    );
    expect(new Set(repeats).size).toBe(1);
    const created = {
      paymentId: options.paymentId,
      reference: String(repeats[0]),
      amount: undefined,
      facts: [],
    };
    const requestId = randomUUID();
    await Promise.all([1, 2, 3].map(() => calls.capture(created, 500n, { id: requestId, isFinal: false })));
    await Promise.all([1, 2, 3].map(() => calls.refund(created, 200n, requestId)));
    const { totals, facts } = (await calls.fetchPayment(options.paymentId)) ?? {};
    expect(totals).toEqual({ captured: 500n, refunded: 200n });
    const events = await fixture.database.query("select from sandbox_event where sandbox_payment_id = $1", [
      created.reference,
    ]);
    expect([facts?.length, events.length]).toEqual([3, 3]);
  });

  test("a creation that another process commits first leaves that payment as it is", async () => {
    const { database, sandbox } = fixture;
    const options = { paymentId: randomUUID(), orderId: randomUUID() };
    await database.query("begin");
    await database.query(
      `insert into sandbox_payment
       select 'sp_first', $1, $2, 1000, 'EUR', 'AT_SHIPMENT', '', 'ACTION_REQUIRED', 'secret', '[]', '[]', null, now(), now()`,
      [options.paymentId, options.orderId],
    );
    const created = errorOf(createWith(sandbox, "sandbox_ok", options));
    await expect.poll(() => countLockWaits(database)).toBe(1);
    await database.query("commit");
    expect(await created).toMatchObject({ kind: "UNKNOWN", code: "idempotency_key_in_use" });
    expect(await createWith(sandbox, "sandbox_ok", options)).toMatchObject({
      reference: "sp_first",
      facts: [],
    });
    expect(await database.query("select from sandbox_event where sandbox_payment_id = 'sp_first'")).toEqual(
      [],
    );
  });

  test("a late repeat of a confirmation changes nothing", async () => {
    const created = await fixture.create("");
    const first = randomUUID();
    await calls.confirm(created, "sandbox_second_step", first);
    await calls.confirm(created, "sandbox_second_step_failed");
    expect(await calls.confirm(created, "sandbox_second_step", first)).toMatchObject({ step: "FAILED" });
  });

  test("a repeated creation with other values is rejected", async () => {
    const options = { paymentId: randomUUID(), orderId: randomUUID() };
    await fixture.create("sandbox_ok", options);
    for (const other of [{ minorUnits: 1n }, { currencyCode: "USD" }, { orderId: randomUUID() }]) {
      expect(await rejectionOf(fixture.create("sandbox_ok", { ...options, ...other }))).toBe(
        "idempotency_mismatch",
      );
    }
  });
});

describe("limits", () => {
  test.each([
    ["JPY", 1n],
    ["BHD", 1_234n],
    ["EUR", 10n ** 15n],
  ])("%s %s is charged exactly", async (currencyCode, minorUnits) => {
    fixture.sandbox.assertChargeable({ currencyCode, minorUnits });
    const created = await fixture.create("sandbox_ok", { currencyCode, minorUnits, capture: "AT_ORDER" });
    expect((await calls.fetchPayment(created.paymentId))?.facts[0]?.amount).toEqual({
      currencyCode,
      minorUnits,
    });
  });

  test.each([
    ["EUR", 0n],
    ["EUR", 10n ** 15n + 1n],
    ["XXY", 1n],
  ])("%s %s is not chargeable", (currencyCode, minorUnits) => {
    const check = () => fixture.sandbox.assertChargeable({ currencyCode, minorUnits });
    expect(check).toThrow(AppError);
    expect(check).toThrow(expect.objectContaining({ code: "failed_precondition" }));
  });

  test("a call that is aborted before its batch has done nothing", async () => {
    const paymentId = randomUUID();
    const limits = { signal: AbortSignal.abort(), timeoutMs: 60_000 };
    expect(await errorOf(fixture.create("sandbox_ok", { paymentId, limits }))).toMatchObject({
      kind: "UNKNOWN",
    });
    expect(await calls.fetchPayment(paymentId)).toBeUndefined();
  });
});
