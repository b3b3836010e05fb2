import { afterAll, beforeAll, expect, test } from "vitest";
import { PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import type { LedgerFact } from "../../../../src/infra/payment/payment-gateway.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  factOf,
  insertPayment,
  insertRequest,
  type LedgerReplica,
  openLedger,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop();
  ledger = await openLedger(shop.database);
});
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

const capture = (payment: TestPayment): LedgerFact =>
  factOf(payment, "CAPTURED", { reference: `ch_${payment.id}` });
const apply = (payment: TestPayment, ...facts: LedgerFact[]) =>
  ledger.writer.apply(webhookOf(payment, facts));
const orderOf = async ({ orderId: id }: TestPayment) => (await shop.orders.getOrder({ id })).order;

/** Places an order with a payment that is being cancelled, and a later one that is authorized. */
async function replacePayment(): Promise<{ cancelled: TestPayment; later: TestPayment }> {
  const { id } = await placeOrder(shop, [2n]);
  const cancelled = await insertPayment(shop.database, id, { isOpen: false });
  await insertRequest(shop.database, cancelled, "CANCEL");
  const later = await insertPayment(shop.database, id);
  await apply(later, factOf(later, "AUTHORIZED"));
  return { cancelled, later };
}

async function requestsOf(payment: TestPayment): Promise<unknown[]> {
  const rows = await rowsOf(shop.database, "payment_request", payment);
  return rows.map(({ kind, amount_minor: minor }) => [kind, minor]);
}

test("an authorization that is being cancelled does not replace the later one", async () => {
  const { cancelled, later } = await replacePayment();
  await apply(cancelled, factOf(cancelled, "AUTHORIZED"));
  expect(await requestsOf(later)).toEqual([]);
  await apply(cancelled, factOf(cancelled, "VOIDED"));
  expect(await requestsOf(later)).toEqual([]);
  expect(await orderOf(later)).toMatchObject({ paymentState: PaymentState.AUTHORIZED });
});

test("a payment that is captured although it is being cancelled is refunded if the later one is captured", async () => {
  const { cancelled, later } = await replacePayment();
  await apply(later, capture(later));
  await apply(cancelled, factOf(cancelled, "AUTHORIZED"), capture(cancelled));
  expect(await requestsOf(cancelled)).toEqual([
    ["CANCEL", null],
    ["REFUND", "2000"],
  ]);
  expect(await requestsOf(later)).toEqual([]);
});

test("a payment that is captured although it is being cancelled is refunded while the later one is being captured", async () => {
  const { cancelled, later } = await replacePayment();
  await insertRequest(shop.database, later, "CAPTURE", { minorUnits: 2_000n });
  await apply(cancelled, factOf(cancelled, "AUTHORIZED"), capture(cancelled));
  expect(await requestsOf(cancelled)).toEqual([
    ["CANCEL", null],
    ["REFUND", "2000"],
  ]);
  expect(await requestsOf(later)).toEqual([["CAPTURE", "2000"]]);
});

test("a payment that is captured although it is being cancelled is kept, and the later authorization is cancelled", async () => {
  const { cancelled, later } = await replacePayment();
  await apply(cancelled, capture(cancelled));
  expect(await requestsOf(cancelled)).toEqual([["CANCEL", null]]);
  expect(await requestsOf(later)).toEqual([["CANCEL", null]]);
  await apply(later, factOf(later, "VOIDED"));
  expect(await orderOf(later)).toMatchObject({
    paymentState: PaymentState.PAID,
    paidAmount: { minorUnits: 2_000n },
  });
});
