import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  captureOf,
  factOf,
  insertRequest,
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
afterAll(() => shop.close());

describe("the sums that a gateway states when it is asked", () => {
  const fetched = (payment: TestPayment, captured: bigint, refunded = 0n) =>
    responseOf(payment, [captureOf(payment)], {
      source: "FETCH",
      totals: { captured, refunded },
    });

  test("end the checks of a settled payment if they are those of the ledger", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(fetched(payment, 2_000n));
    expect(await shop.stored.payment(payment)).toMatchObject({ check_reason: "SETTLE" });
    await shop.ledger.writer.apply(fetched(payment, 2_000n));
    expect(await shop.stored.payment(payment)).toMatchObject({ check_reason: null, check_at: null });
    expect(await shop.stored.discrepancies(payment)).toEqual([]);
  });

  test("are discrepancies if they differ", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(fetched(payment, 2_100n, 50n));
    await shop.ledger.writer.apply(fetched(payment, 2_100n, 50n));
    expect(await shop.stored.discrepancies(payment)).toEqual([
      { kind: "CAPTURED_MISMATCH", reference: payment.id, expected: "2000", actual: "2100" },
      { kind: "REFUNDED_MISMATCH", reference: payment.id, expected: "0", actual: "50" },
    ]);
  });

  test("are not compared while a request may change them", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(fetched(payment, 2_000n));
    await insertRequest(shop.database, payment, "REFUND", { minorUnits: 100n });
    await shop.ledger.writer.apply(fetched(payment, 2_000n, 100n));
    expect(await shop.stored.discrepancies(payment)).toEqual([]);
    expect(await shop.stored.payment(payment)).toMatchObject({ check_reason: "SETTLE" });
  });

  test("do not end the checks of a payment that the buyer may still make", async () => {
    const payment = await shop.placePayment();
    const statement = { source: "FETCH", step: "ACTION_REQUIRED" } as const;
    const { check_at } = await shop.stored.payment(payment);
    await shop.ledger.writer.apply(responseOf(payment, [], statement));
    expect(await shop.stored.payment(payment)).toMatchObject({ check_reason: "SETTLE", check_at });
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
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(responseOf(payment, [factOf(payment, "AUTHORIZED")]));
    const requestId = await insertRequest(shop.database, payment, kind, {
      state: kind === "CANCEL" ? "OPEN" : "DEAD",
    });
    const fact = factOf(payment, type, { reference: requestId, requestId, note: "expired" });
    // The webhook is as good as the response.
    await shop.ledger.writer.apply(webhookOf(payment, [fact]));
    expect(await stateOf(requestId)).toBe(state);
    expect(await shop.stored.discrepancies(payment)).toEqual(
      state === "FAILED"
        ? [{ kind: "REQUEST_FAILED", reference: requestId, expected: null, actual: null }]
        : [],
    );
  });

  test("to cancel ends with the response, also if the payment is captured already", async () => {
    const payment = await shop.placePayment();
    const requestId = await insertRequest(shop.database, payment, "CANCEL");
    const captured = captureOf(payment);
    await shop.ledger.writer.apply(responseOf(payment, [captured], { requestId }));
    expect(await stateOf(requestId)).toBe("DONE");
    expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "PAID" });
  });

  test.each([
    ["first the refund, then its failure", ["REFUNDED", "REFUND_FAILED"]],
    ["first the failure, then the refund", ["REFUND_FAILED", "REFUNDED"]],
  ] as const)("to refund fails once a failure is known: %s", async (_name, types) => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(responseOf(payment, [captureOf(payment)]));
    const requestId = await insertRequest(shop.database, payment, "REFUND", { minorUnits: 700n });
    const reference = `re_${payment.id}`;
    for (const type of types) {
      // Only one of the two names the request.
      const cause = type === "REFUNDED" ? { requestId } : { note: "closed account" };
      const fact = factOf(payment, type, { reference, minorUnits: 700n, ...cause });
      await shop.ledger.writer.apply(webhookOf(payment, [fact]));
    }
    expect(await stateOf(requestId)).toBe("FAILED");
    expect(await rowsOf(shop.database, "refund", payment)).toMatchObject([
      { state: "FAILED", failure: "closed account", completed_at: expect.any(Date) },
    ]);
    expect(await shop.stored.payment(payment)).toMatchObject({
      requested_refund_minor: "0",
      refunded_minor: "0",
    });
    expect(await shop.stored.order(payment)).toMatchObject({ payment_state: "PAID", refunded_minor: "0" });
    expect(await shop.stored.discrepancies(payment)).toMatchObject([
      { kind: "REQUEST_FAILED", reference: requestId },
    ]);
  });

  test("to refund succeeds with the refund, which the history names", async () => {
    const payment = await shop.placePayment();
    await shop.ledger.writer.apply(responseOf(payment, [captureOf(payment)]));
    const requestId = await insertRequest(shop.database, payment, "REFUND", { minorUnits: 700n });
    const refund = { reference: `re_${payment.id}`, minorUnits: 700n, requestId };
    await shop.ledger.writer.apply(responseOf(payment, [factOf(payment, "REFUNDED", refund)], { requestId }));
    expect(await stateOf(requestId)).toBe("DONE");
    expect(await stateOf(requestId, "refund")).toBe("SUCCEEDED");
    expect(await shop.stored.order(payment)).toMatchObject({
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
