import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  FulfillmentState,
  PaymentState as OrderPaymentState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { PaymentState } from "../../../../gen/cartwright/payment/v1/payment_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { payOrder } from "../../../support/orders/order-fixtures.ts";
import { type LedgerReplica, openLedger, webhookOf } from "../../../support/payments/ledger-fixtures.ts";
import { createMemoryGateway } from "../../../support/payments/memory-gateway.ts";
import { createPayment, placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const gateway = createMemoryGateway();
let shop: TestShop;
let ledger: LedgerReplica;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "4" }, silentLog, undefined, () => gateway);
  ledger = await openLedger(shop.database);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await ledger.close();
  await shop.close();
});

const orderOf = async (id: string) => (await shop.orders.getOrder({ id })).order;
const ship = (id: string, quantity = 1n) =>
  shop.orders.shipOrder({ requestId: randomUUID(), id, items: [{ itemId: "1", quantity }] });

/** The buyer's client confirms a payment at the gateway, whose webhook states it. */
async function confirmAtGateway(id: string): Promise<void> {
  const reference = `pi_${id}`;
  const limits = { signal: new AbortController().signal, timeoutMs: 1_000 };
  const request = { paymentId: id, reference, requestId: randomUUID(), methodToken: "ok" };
  const { facts } = await gateway.confirm(request, limits);
  await ledger.writer.apply(webhookOf({ id, reference }, facts));
}

test("an order whose authorization is being cancelled is not shipped, and is paid and shipped later", async () => {
  const { order, payment } = await placeWithPayment(shop, [2n], "");
  const hold = Promise.withResolvers<void>();
  gateway.failNext("cancel", { delay: hold.promise }, { delay: hold.promise });
  const cancellation = shop.payments.cancelPayment({ id: payment.id, requestId: randomUUID() });
  await expect
    .poll(() => gateway.calls.filter(({ method }) => method === "cancel").length)
    .toBeGreaterThan(0);
  await confirmAtGateway(payment.id);
  expect(await orderOf(order.id)).toMatchObject({ paymentState: OrderPaymentState.AUTHORIZED });
  expect(await failureOf(ship(order.id))).toMatchObject({
    code: "FailedPrecondition",
    reason: "NOTHING_CAPTURABLE",
    preconditions: ["CAPTURE"],
  });
  hold.resolve();
  expect((await cancellation).payment?.state).toBe(PaymentState.CANCELLED);
  expect(await orderOf(order.id)).toMatchObject({
    paymentState: OrderPaymentState.FAILED,
    fulfillmentState: FulfillmentState.UNFULFILLED,
  });
  await createPayment(shop, order.id);
  await ship(order.id);
  await expect.poll(async () => (await orderOf(order.id))?.paymentState).toBe(OrderPaymentState.PAID);
});

test("an order whose authorization has ended is not shipped", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n]);
  const setEnd = (end: string) =>
    shop.database.query("update payment set capture_before = now() + $2::interval where id = $1", [
      payment.id,
      end,
    ]);
  await setEnd("-1 second");
  expect(await failureOf(ship(order.id))).toMatchObject({
    code: "FailedPrecondition",
    reason: "NOTHING_CAPTURABLE",
    message: expect.stringContaining("its authorization has ended"),
  });
  await setEnd("1 day");
  await ship(order.id);
  await expect.poll(async () => (await orderOf(order.id))?.paymentState).toBe(OrderPaymentState.PAID);
});

test("an order that is paid by hand is shipped while a late authorization is cancelled", async () => {
  const { order, payment } = await placeWithPayment(shop, [1n], "");
  const hold = Promise.withResolvers<void>();
  gateway.failNext("cancel", { delay: hold.promise }, { delay: hold.promise });
  await payOrder(shop, order);
  await confirmAtGateway(payment.id);
  expect(await orderOf(order.id)).toMatchObject({
    paymentState: OrderPaymentState.AUTHORIZED,
    amountDue: { minorUnits: 0n },
  });
  await ship(order.id);
  hold.resolve();
  await expect.poll(async () => (await orderOf(order.id))?.paymentState).toBe(OrderPaymentState.PAID);
});
