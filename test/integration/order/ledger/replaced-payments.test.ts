import { afterAll, beforeAll, expect, test } from "vitest";
import { PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  captureOf,
  factOf,
  insertPayment,
  insertRequest,
  type TestPayment,
} from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";

let shop: LedgerShop;
beforeAll(async () => {
  shop = await startLedgerShop();
});
afterAll(() => shop.close());

const orderOf = async ({ orderId: id }: TestPayment) => (await shop.orders.getOrder({ id })).order;

/** Places an order with a payment that is being cancelled, and a later one that is authorized. */
async function replacePayment(): Promise<{ cancelled: TestPayment; later: TestPayment }> {
  const cancelled = await shop.placePayment({ isOpen: false });
  await insertRequest(shop.database, cancelled, "CANCEL");
  const later = await insertPayment(shop.database, cancelled.orderId);
  await shop.applyFacts(later, factOf(later, "AUTHORIZED"));
  return { cancelled, later };
}

test("an authorization that is being cancelled does not replace the later one", async () => {
  const { cancelled, later } = await replacePayment();
  await shop.applyFacts(cancelled, factOf(cancelled, "AUTHORIZED"));
  expect(await shop.stored.requests(later)).toEqual([]);
  await shop.applyFacts(cancelled, factOf(cancelled, "VOIDED"));
  expect(await shop.stored.requests(later)).toEqual([]);
  expect(await orderOf(later)).toMatchObject({ paymentState: PaymentState.AUTHORIZED });
});

test("a payment that is captured although it is being cancelled is refunded if the later one is captured", async () => {
  const { cancelled, later } = await replacePayment();
  await shop.applyFacts(later, captureOf(later));
  await shop.applyFacts(cancelled, factOf(cancelled, "AUTHORIZED"), captureOf(cancelled));
  expect(await shop.stored.requests(cancelled)).toEqual([
    ["CANCEL", "OPEN", null],
    ["REFUND", "OPEN", "2000"],
  ]);
  expect(await shop.stored.requests(later)).toEqual([]);
});

test("a payment that is captured although it is being cancelled is refunded while the later one is being captured", async () => {
  const { cancelled, later } = await replacePayment();
  await insertRequest(shop.database, later, "CAPTURE", { minorUnits: 2_000n });
  await shop.applyFacts(cancelled, factOf(cancelled, "AUTHORIZED"), captureOf(cancelled));
  expect(await shop.stored.requests(cancelled)).toEqual([
    ["CANCEL", "OPEN", null],
    ["REFUND", "OPEN", "2000"],
  ]);
  expect(await shop.stored.requests(later)).toEqual([["CAPTURE", "OPEN", "2000"]]);
});

test("a payment that is captured although it is being cancelled is kept, and the later authorization is cancelled", async () => {
  const { cancelled, later } = await replacePayment();
  await shop.applyFacts(cancelled, captureOf(cancelled));
  expect(await shop.stored.requests(cancelled)).toEqual([["CANCEL", "OPEN", null]]);
  expect(await shop.stored.requests(later)).toEqual([["CANCEL", "OPEN", null]]);
  await shop.applyFacts(later, factOf(later, "VOIDED"));
  expect(await orderOf(later)).toMatchObject({
    paymentState: PaymentState.PAID,
    paidAmount: { minorUnits: 2_000n },
  });
});
