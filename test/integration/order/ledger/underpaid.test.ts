import { afterAll, beforeAll, expect, test } from "vitest";
import { OrderTransition, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { captureOf, factOf } from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
afterAll(() => shop.close());

test.each([
  { webhooks: [["AUTHORIZED", "CAPTURED", "VOIDED"]] },
  { webhooks: [["AUTHORIZED"], ["CAPTURED"], ["VOIDED"], ["CAPTURED"]] },
  { webhooks: [["VOIDED"], ["CAPTURED"], ["AUTHORIZED"], ["VOIDED"]] },
] as const)(
  "a capture at the gateway of less than the order costs is one discrepancy, when no money is left: $webhooks",
  async ({ webhooks }) => {
    const payment = await shop.placePayment();
    const facts = {
      AUTHORIZED: factOf(payment, "AUTHORIZED"),
      CAPTURED: captureOf(payment, 100n),
      VOIDED: factOf(payment, "VOIDED", { minorUnits: 1_900n }),
    };
    for (const types of webhooks) {
      await shop.applyFacts(payment, ...types.map((type) => facts[type]));
    }
    expect(await shop.stored.discrepancies(payment)).toEqual([
      { kind: "CAPTURED_MISMATCH", expected: "2000", actual: "100", reference: payment.id },
    ]);
    const { orderId } = payment;
    expect(shop.lines.filter(({ fields }) => fields.orderId === orderId)).toMatchObject([
      { level: "error", message: "Ledger discrepancy found", fields: { kind: "CAPTURED_MISMATCH" } },
    ]);
    const { order } = await shop.orders.getOrder({ id: orderId });
    expect(order).toMatchObject({ paymentState: PaymentState.PAID, paidAmount: { minorUnits: 100n } });
    expect(order?.allowedTransitions).not.toContain(OrderTransition.PAY);
    expect(order?.allowedTransitions).not.toContain(OrderTransition.MARK_PAID);
  },
);

test.each([
  { facts: "together", apart: false },
  { facts: "with the authorization last", apart: true },
])("a part that is captured while the rest is authorized is no discrepancy: $facts", async ({ apart }) => {
  const payment = await shop.placePayment();
  const captured = captureOf(payment, 100n);
  const authorized = factOf(payment, "AUTHORIZED");
  const webhooks = apart ? [[captured], [authorized]] : [[authorized, captured]];
  for (const facts of webhooks) await shop.applyFacts(payment, ...facts);
  expect(await shop.stored.discrepancies(payment)).toEqual([]);
});
