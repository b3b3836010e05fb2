import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderState } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerEntryType } from "../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentState } from "../../../gen/cartwright/payment/v1/payment_pb.ts";
import { setExpiry } from "../../support/orders/expiry-worker.ts";
import { placeOrder, stockOfItems } from "../../support/orders/order-fixtures.ts";
import {
  endDelays,
  lockTable,
  SANDBOX_ENV,
  startRepairingWorker,
  startService,
  unlockTable,
  waitForBlocked,
} from "../../support/payments/killed-service.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ ...SANDBOX_ENV, WORKERS: "0" });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** The states of an order, of its payment and of the payment at the gateway. */
async function statesOf(orderId: string) {
  const [row] = await shop.database.query(
    `select closing, payment.state, sandbox_payment.step from orders
       join payment on payment.order_id = orders.id join sandbox_payment on payment_id = payment.id
     where orders.id = $1`,
    [orderId],
  );
  return row;
}

test.each([
  [
    "before the gateway has cancelled the payment",
    "sandbox_payment",
    { closing: "EXPIRING", state: "ACTION_REQUIRED", step: "ACTION_REQUIRED" },
  ],
  [
    "before the response of the gateway is applied",
    "payment",
    { closing: "EXPIRING", state: "ACTION_REQUIRED", step: "CANCELLED" },
  ],
  [
    "before the units of the order are released",
    "stock_movement",
    { closing: "EXPIRING", state: "CANCELLED", step: "CANCELLED" },
  ],
])("an order of a process that is killed %s expires once, without its payment", async (_, table, states) => {
  const order = await placeOrder(shop, [2n]);
  const { payment } = await shop.payments.createPayment({
    payment: { orderId: order.id },
    requestId: randomUUID(),
  });
  expect(payment?.state).toBe(PaymentState.ACTION_REQUIRED);
  // The lock begins a transaction of the same connection.
  await setExpiry(shop.database, "-1 second", order.id);
  await lockTable(shop.database, table);
  const service = await startService(shop.database, { WORKERS: "1" });
  await waitForBlocked(shop.database, table);
  await expect.poll(() => statesOf(order.id)).toEqual(states);
  await service.kill();
  await unlockTable(shop.database);
  expect(await statesOf(order.id)).toEqual(states);

  await endDelays(shop.database);
  await startRepairingWorker(shop.database);
  await expect
    .poll(async () => (await shop.orders.getOrder({ id: order.id })).order?.state)
    .toBe(OrderState.EXPIRED);
  expect(await statesOf(order.id)).toEqual({ closing: "EXPIRED", state: "CANCELLED", step: "CANCELLED" });
  expect(await stockOfItems(shop, order)).toEqual([{ onHand: 100, reserved: 0 }]);
  expect(await shop.database.query("select from order_expiry")).toEqual([]);
  const { entries } = await shop.payments.listLedgerEntries({ orderId: order.id });
  expect(entries).toMatchObject([{ type: LedgerEntryType.VOIDED, amount: { minorUnits: 0n } }]);
});
