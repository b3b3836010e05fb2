import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { GatewayReport } from "../../../../../src/infra/payment/payment-gateway.ts";
import { openExpiryWorker } from "../../../../support/orders/expiry-worker.ts";
import { payOrder, stockOfItems } from "../../../../support/orders/order-fixtures.ts";
import { noResponse } from "../../../../support/payments/memory-gateway.ts";
import {
  authorized,
  type ReconciledShop,
  startReconciledShop,
} from "../../../../support/payments/reconciled-shop.ts";
import type { GatewayScript } from "../../../../support/payments/scripted-gateway.ts";
import type { TestShop } from "../../../../support/shop.ts";

const MINUTE_MS = 60_000;

let reconciled: ReconciledShop;
let shop: TestShop;
beforeAll(async () => {
  reconciled = await startReconciledShop();
  shop = reconciled.shop;
});
afterEach(() => reconciled.endChecks());
afterAll(() => reconciled.close());

describe("a payment whose outcome stays unknown", () => {
  /** Returns a payment in doubt about which the gateway was queried 11 times. */
  async function placeUnanswered() {
    const placed = await reconciled.placeDoubtful();
    await shop.database.query("update payment set checks = 11 where id = $1", [placed.payment.id]);
    return placed;
  }
  const silent: GatewayScript = { fetch: () => Promise.reject(noResponse()) };

  test("is given up after 12 queries: it is FAILED, its order is cancelled and its units are released", async () => {
    const { order, payment } = await placeUnanswered();
    const { run, lines } = await reconciled.open(silent);
    expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 2 }]);
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(await reconciled.paymentOf(payment)).toMatchObject({
      state: "FAILED",
      open: false,
      reason: "SETTLE",
    });
    expect(await reconciled.stateOf(order)).toEqual({ payment: expect.any(String), closing: "CANCELLED" });
    expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
    expect(await reconciled.discrepanciesOf(order.id)).toEqual([
      { kind: "REQUEST_FAILED", reference: payment.id },
    ]);
    expect(lines.filter(({ level }) => level === "error")).toEqual([
      {
        level: "error",
        fields: { paymentId: payment.id, orderId: order.id, gateway: "sandbox", checks: 12 },
        message: "Outcome of a payment stayed unknown",
      },
    ]);
  });

  test("is queried afterwards too, and money that has arrived is released once", async () => {
    const { order, payment } = await placeUnanswered();
    let fetch: () => Promise<GatewayReport> = () => Promise.reject(noResponse());
    const { run, time } = await reconciled.open({ fetch: () => fetch() });
    await run();
    fetch = async () => authorized(payment);
    time.aheadMs = 3_000 * MINUTE_MS;
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    time.aheadMs *= 2;
    await run();
    const requests = await shop.database.query(
      "select kind, state from payment_request where order_id = $1 and kind = 'CANCEL'",
      [order.id],
    );
    expect(requests).toEqual([{ kind: "CANCEL", state: "OPEN" }]);
  });

  test("does not cancel an order that was paid by hand meanwhile", async () => {
    const { order, payment } = await placeUnanswered();
    await payOrder(shop, order);
    const { run } = await reconciled.open(silent);
    expect(await run()).toEqual({ checked: 1, failed: 0 });
    expect(await reconciled.stateOf(order)).toEqual({ payment: "PAID", closing: "NONE" });
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "FAILED" });
  });

  test("does not cancel an order that is paid between the decision and the cancellation", async () => {
    const { order } = await placeUnanswered();
    const { orders } = await openExpiryWorker(shop.database.url);
    const { run, time } = await reconciled.open(silent, {
      async getOrder(call, id) {
        const read = await orders.get(call, id);
        await payOrder(shop, order);
        return read;
      },
    });
    expect(await run()).toEqual({ checked: 1, failed: 1 });
    expect(await reconciled.stateOf(order)).toEqual({ payment: "PAID", closing: "NONE" });
    time.aheadMs = 0;
  });

  test.each(["getOrder", "cancelOrder", "reports"] as const)(
    "is given up once if the process ends before %s",
    async (step) => {
      const { order, payment } = await placeUnanswered();
      const killed = () => Promise.reject(new Error("killed"));
      const broken = {
        getOrder: { getOrder: killed },
        cancelOrder: { cancelOrder: killed },
        reports: { reports: { apply: killed } },
      }[step];
      const first = await reconciled.open(silent, broken);
      expect(await first.run()).toEqual({ checked: 1, failed: 1 });
      expect(await reconciled.paymentOf(payment)).toMatchObject({
        state: "PENDING",
        reason: "DOUBT",
        checks: 12,
      });
      const second = await reconciled.open(silent);
      second.time.aheadMs = 60 * MINUTE_MS;
      expect(await second.run()).toEqual({ checked: 1, failed: 0 });
      expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "FAILED" });
      expect(await reconciled.stateOf(order)).toMatchObject({ closing: "CANCELLED" });
      expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
      expect(await reconciled.discrepanciesOf(order.id)).toEqual([
        { kind: "REQUEST_FAILED", reference: payment.id },
      ]);
    },
  );

  test("is not given up because the database failed", async () => {
    const { payment } = await placeUnanswered();
    const { run } = await reconciled.open(
      { fetch: async () => authorized(payment) },
      { reports: { apply: () => Promise.reject(new Error("connection lost")) } },
    );
    expect(await run()).toEqual({ checked: 1, failed: 1 });
    expect(await reconciled.paymentOf(payment)).toMatchObject({ state: "PENDING", reason: "DOUBT" });
  });
});
