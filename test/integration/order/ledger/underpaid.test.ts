import { afterAll, beforeAll, expect, test } from "vitest";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const errors: { message: string; kind: unknown; orderId: unknown }[] = [];
const log: Log = {
  ...silentLog,
  error: ({ kind, orderId }: Record<string, unknown>, message: string) =>
    errors.push({ message, kind, orderId }),
};
let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database, log);
});
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

const discrepanciesOf = async (payment: TestPayment) =>
  (await rowsOf(shop.database, "payment_discrepancy", payment)).map(
    ({ kind, expected_minor: expected, actual_minor: actual, reference }) => ({
      kind,
      expected,
      actual,
      reference,
    }),
  );

test.each([
  { webhooks: [["AUTHORIZED", "CAPTURED", "VOIDED"]] },
  { webhooks: [["AUTHORIZED"], ["CAPTURED"], ["VOIDED"], ["CAPTURED"]] },
  { webhooks: [["VOIDED"], ["CAPTURED"], ["AUTHORIZED"], ["VOIDED"]] },
] as const)(
  "a capture at the gateway of less than the order costs is one discrepancy, when no money is left: $webhooks",
  async ({ webhooks }) => {
    const { id } = await placeOrder(shop, [2n]);
    const payment = await insertPayment(shop.database, id);
    const facts = {
      AUTHORIZED: factOf(payment, "AUTHORIZED"),
      CAPTURED: factOf(payment, "CAPTURED", { reference: `ch_${payment.id}`, minorUnits: 100n }),
      VOIDED: factOf(payment, "VOIDED", { minorUnits: 1_900n }),
    };
    for (const types of webhooks) {
      const stated = types.map((type) => facts[type]);
      await ledger.writer.apply(webhookOf(payment, stated));
    }
    expect(await discrepanciesOf(payment)).toEqual([
      { kind: "CAPTURED_MISMATCH", expected: "2000", actual: "100", reference: payment.id },
    ]);
    expect(errors.filter(({ orderId }) => orderId === id)).toEqual([
      { message: "Ledger discrepancy found", kind: "CAPTURED_MISMATCH", orderId: id },
    ]);
  },
);

test.each([
  { facts: "together", apart: false },
  { facts: "with the authorization last", apart: true },
])("a part that is captured while the rest is authorized is no discrepancy: $facts", async ({ apart }) => {
  const { id } = await placeOrder(shop, [2n]);
  const payment = await insertPayment(shop.database, id);
  const captured = factOf(payment, "CAPTURED", { reference: `ch_${payment.id}`, minorUnits: 100n });
  const authorized = factOf(payment, "AUTHORIZED");
  const webhooks = apart ? [[captured], [authorized]] : [[authorized, captured]];
  for (const facts of webhooks) await ledger.writer.apply(webhookOf(payment, facts));
  expect(await discrepanciesOf(payment)).toEqual([]);
});
