import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Order } from "../../../../../gen/cartwright/order/v1/order_pb.ts";
import { GatewayError, type IntentRequest } from "../../../../../src/infra/payment/payment-gateway.ts";
import { payOrder } from "../../../../support/orders/order-fixtures.ts";
import { factOf, insertPayment } from "../../../../support/payments/ledger-fixtures.ts";
import { noResponse } from "../../../../support/payments/memory-gateway.ts";
import {
  authorized,
  type ReconciledShop,
  startReconciledShop,
} from "../../../../support/payments/reconciled-shop.ts";
import type { GatewayScript } from "../../../../support/payments/scripted-gateway.ts";
import type { TestShop } from "../../../../support/shop.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

let reconciled: ReconciledShop;
let shop: TestShop;
beforeAll(async () => {
  reconciled = await startReconciledShop();
  shop = reconciled.shop;
});
afterEach(() => reconciled.endChecks());
afterAll(() => reconciled.close());

test("an authorization is checked at its end, and further until the gateway states the end", async () => {
  const { order, payment } = await reconciled.placeDoubtful();
  const captureBefore = new Date(Date.now() + 7 * DAY_MS);
  const end: { stated: { captureBefore?: Date } } = { stated: { captureBefore } };
  const facts = [factOf(payment, "AUTHORIZED")];
  const { run, time } = await reconciled.open({
    fetch: async () => ({ paymentId: payment.id, reference: payment.reference, ...end.stated, facts }),
  });
  for (const aheadMs of [0, HOUR_MS]) {
    time.aheadMs = aheadMs;
    expect(await run()).toEqual({ checked: 1, failed: 0 });
  }
  const checkTime = async () => {
    const query = "select check_at from payment where id = $1";
    const [row] = await shop.database.query<{ check_at: Date }>(query, [payment.id]);
    return row?.check_at.getTime();
  };
  expect(await checkTime()).toBe(captureBefore.getTime());
  // The clock of the ledger is not ahead.
  end.stated = {};
  const passed =
    "update payment set capture_before = now() - interval '1 minute', check_at = now() where id = $1";
  await shop.database.query(passed, [payment.id]);
  time.aheadMs = MINUTE_MS;
  expect(await run()).toEqual({ checked: 1, failed: 0 });
  expect(await checkTime()).toBeGreaterThan(Date.now());
  facts.push(factOf(payment, "VOIDED"));
  time.aheadMs = 9 * DAY_MS;
  expect(await run()).toEqual({ checked: 1, failed: 0 });
  expect(await reconciled.stateOf(order)).toEqual({ payment: "FAILED", closing: "NONE" });
});

describe("a payment in doubt", () => {
  test("is created again with the same id and method while its order waits, and what the gateway states is applied", async () => {
    const { order, payment } = await reconciled.placeDoubtful({ reference: null });
    const requests: IntentRequest[] = [];
    const { run } = await reconciled.open({
      async createIntent(request) {
        requests.push(request);
        return authorized(payment);
      },
    });
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(requests).toEqual([
      {
        paymentId: payment.id,
        orderId: order.id,
        amount: { currencyCode: "EUR", minorUnits: 2_000n },
        capture: "AT_SHIPMENT",
        methodToken: "token",
      },
    ]);
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "AUTHORIZED", reason: "SETTLE" });
    expect(await reconciled.stateOf(order)).toEqual({ payment: "AUTHORIZED", closing: "NONE" });
    expect(await run()).toEqual({ checked: 0, failed: 0 });
  });

  test("is FAILED when the gateway rejects its creation", async () => {
    const { order, payment } = await reconciled.placeDoubtful({ reference: null });
    const { run } = await reconciled.open({
      createIntent: () =>
        Promise.reject(new GatewayError("REJECTED", "No such method.", { code: "no_method" })),
    });
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "FAILED", open: false });
    expect(await reconciled.stateOf(order)).toMatchObject({ closing: "NONE" });
  });

  test("that the gateway has created is fetched by its reference", async () => {
    const { order, payment } = await reconciled.placeDoubtful();
    const fetched: unknown[] = [];
    const { run } = await reconciled.open({
      async fetch(request) {
        fetched.push(request);
        return authorized(payment);
      },
    });
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(fetched).toEqual([{ paymentId: payment.id, reference: payment.reference }]);
    expect(await reconciled.stateOf(order)).toEqual({ payment: "AUTHORIZED", closing: "NONE" });
    const [entry] = await shop.database.query("select source from ledger_entry where order_id = $1", [
      order.id,
    ]);
    expect(entry).toEqual({ source: "FETCH" });
  });

  test.each([
    [
      "its order was cancelled",
      (order: Order) => shop.orders.cancelOrder({ id: order.id, reason: "changed" }),
    ],
    ["its order was paid by hand", (order: Order) => payOrder(shop, order)],
    [
      "its order expires",
      (order: Order) =>
        shop.database.query("update orders set closing = 'EXPIRING' where id = $1", [order.id]),
    ],
    [
      "idempotency keys of gateways have expired",
      (order: Order) =>
        shop.database.query(
          "update payment set created_at = now() - interval '23 hours 1 s' where order_id = $1",
          [order.id],
        ),
    ],
  ])("is not created again after %s, and is CANCELLED if the gateway does not know it", async (_, change) => {
    const { order, payment } = await reconciled.placeDoubtful({ reference: null });
    await change(order);
    const { run } = await reconciled.open({ fetch: async () => undefined });
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "CANCELLED", open: false });
  });

  test("is queried again with exponential backoff while the gateway does not respond, before payments to settle", async () => {
    const doubtful = await reconciled.placeDoubtful();
    const settled = await reconciled.placeDoubtful();
    await shop.database.query(
      "update payment set check_reason = 'SETTLE', check_at = now() - interval '1 day' where id = $1",
      [settled.payment.id],
    );
    const queried: string[] = [];
    const { run, time, lines } = await reconciled.open({
      async fetch({ paymentId }) {
        queried.push(paymentId);
        throw noResponse();
      },
    });
    expect(await run()).toEqual({ checked: 2, failed: 2 });
    expect(new Set(queried)).toEqual(new Set([doubtful.payment.id, settled.payment.id]));
    const delays = { doubt: [MINUTE_MS, 15 * MINUTE_MS], settle: [10 * MINUTE_MS, 1_440 * MINUTE_MS] };
    for (let checks = 1; checks <= 10; checks += 1) {
      for (const [payment, [first = 0, most = 0]] of [
        [doubtful.payment, delays.doubt],
        [settled.payment, delays.settle],
      ] as const) {
        const row = await reconciled.paymentOf(payment);
        expect(row).toMatchObject({ state: "PENDING", checks });
        const delayMs = (row.due_ms ?? 0) - time.aheadMs;
        const mean = Math.min(first * 2 ** (checks - 1), most);
        expect(delayMs).toBeGreaterThanOrEqual(Math.max(mean * 0.5, 40_000) - MINUTE_MS / 2);
        expect(delayMs).toBeLessThanOrEqual(Math.max(mean * 1.5, 45_000));
      }
      if (checks === 10) break;
      time.aheadMs += 1_440 * 2 * MINUTE_MS;
      expect(await run()).toEqual({ checked: 2, failed: 2 });
    }
    expect(lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("that is due later is not queried", async () => {
    const { payment } = await reconciled.placeDoubtful();
    await shop.database.query("update payment set check_at = now() + interval '20 s' where id = $1", [
      payment.id,
    ]);
    const { run, time } = await reconciled.open({ fetch: async () => authorized(payment) });
    expect(await run()).toEqual({ checked: 0, failed: 0 });
    time.aheadMs = 21_000;
    expect(await run()).toEqual({ checked: 1, failed: 0 });
  });

  test("two processes query each of 70 payments once, 50 in a round and 8 at a time", async () => {
    const { order } = await reconciled.placeDoubtful({ isOpen: false });
    for (let count = 1; count < 70; count += 1)
      await insertPayment(shop.database, order.id, { isOpen: false });
    const queried: string[] = [];
    let running = 0;
    let most = 0;
    const script: GatewayScript = {
      async fetch({ paymentId, reference }) {
        queried.push(paymentId);
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        return { paymentId, reference, step: "CANCELLED", facts: [] };
      },
    };
    const [first, second] = [await reconciled.open(script), await reconciled.open(script)];
    expect((await first.run()).checked).toBe(50);
    expect(most).toBe(8);
    const results = await Promise.all([first.run(), second.run()]);
    expect(results.map(({ checked }) => checked).toSorted()).toEqual([0, 20]);
    expect(new Set(queried).size).toBe(70);
    expect(queried).toHaveLength(70);
  });

  test("of another gateway than the configured one is not queried", async () => {
    const { payment } = await reconciled.placeDoubtful();
    await shop.database.query("update payment set gateway = 'stripe' where id = $1", [payment.id]);
    const { run } = await reconciled.open({});
    expect(await run()).toEqual({ checked: 0, failed: 0 });
  });

  test("whose gateway responds about another payment is a discrepancy, stored once, and stays in doubt", async () => {
    const { order, payment } = await reconciled.placeDoubtful();
    const { run, time, lines } = await reconciled.open({
      fetch: () => Promise.reject(new GatewayError("CONTRADICTION", "The response is about payment x.")),
    });
    expect(await run()).toEqual({ checked: 1, failed: 1 });
    time.aheadMs = 10 * MINUTE_MS;
    expect(await run()).toEqual({ checked: 1, failed: 1 });
    expect(await reconciled.discrepanciesOf(order.id)).toEqual([
      { kind: "WRONG_PAYMENT", reference: payment.id },
    ]);
    expect(await reconciled.paymentOf(payment)).toMatchObject({ reason: "DOUBT", state: "PENDING" });
    expect(lines.filter(({ level }) => level === "error")).toHaveLength(2);
  });

  test("that the gateway has created and does not know any more is a discrepancy", async () => {
    const { order } = await reconciled.placeDoubtful();
    const { run } = await reconciled.open({ fetch: async () => undefined });
    expect(await run()).toEqual({ checked: 1, failed: 1 });
    expect(await reconciled.discrepanciesOf(order.id)).toMatchObject([{ kind: "WRONG_PAYMENT" }]);
  });
});

describe("a settled payment", () => {
  test.each([
    ["CAPTURED_MISMATCH", { captured: 1_999n, refunded: 0n }],
    ["REFUNDED_MISMATCH", { captured: 2_000n, refunded: 1n }],
  ])("whose sums differ from those of the gateway is a discrepancy %s", async (kind, totals) => {
    const { order, payment } = await reconciled.placeDoubtful();
    const facts = [factOf(payment, "AUTHORIZED"), factOf(payment, "CAPTURED", { reference: randomUUID() })];
    const { run } = await reconciled.open({
      fetch: async () => ({ ...authorized(payment), facts, totals }),
    });
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(await reconciled.discrepanciesOf(order.id)).toMatchObject([{ kind }]);
  });

  test("whose sums agree is queried once more, and then no longer", async () => {
    const { order, payment } = await reconciled.placeDoubtful();
    const facts = [factOf(payment, "AUTHORIZED"), factOf(payment, "CAPTURED", { reference: randomUUID() })];
    const totals = { captured: 2_000n, refunded: 0n };
    let count = 0;
    const { run, time } = await reconciled.open({
      async fetch() {
        count += 1;
        return { ...authorized(payment), facts, totals };
      },
    });
    await run();
    for (const aheadMs of [9, 11, 3_000, 9_000].map((minutes) => minutes * MINUTE_MS)) {
      time.aheadMs = aheadMs;
      await run();
    }
    expect(count).toBe(2);
    expect(await reconciled.discrepanciesOf(order.id)).toEqual([]);
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "CAPTURED", reason: null });
  });
});
