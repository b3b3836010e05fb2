import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  PaymentState as OrderPaymentState,
  OrderState,
} from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { LedgerDiscrepancyKind } from "../../../../gen/cartwright/payment/v1/ledger_pb.ts";
import { PaymentAttention } from "../../../../gen/cartwright/payment/v1/payment_service_pb.ts";
import { paymentRequestQueue } from "../../../../src/infra/jobs/queues.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { createMemoryGateway, noResponse } from "../../../support/payments/memory-gateway.ts";
import { placeWithPayment } from "../../../support/payments/payment-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const gateway = createMemoryGateway();
const errors: string[] = [];
const log: Log = { ...silentLog, error: (_fields, message) => errors.push(message) };
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({}, log, undefined, () => gateway);
});
afterAll(() => shop.close());

interface Request {
  id: string;
  kind: string;
  state: string;
  attempts: number;
}

const requestsOf = (paymentId: string) =>
  shop.database.query<Request>(
    "select id, kind, state, attempts from payment_request where payment_id = $1 order by id",
    [paymentId],
  );
const orderStateOf = async (id: string) => (await shop.orders.getOrder({ id })).order?.state;

/** Waits until the first attempt of a capture has failed, and makes the next one the last. */
async function skipToLastAttempt(paymentId: string): Promise<string> {
  await expect.poll(() => requestsOf(paymentId), { timeout: 30_000 }).toMatchObject([{ attempts: 1 }]);
  const [request] = await requestsOf(paymentId);
  const skip = () =>
    shop.database.query(
      `update pgboss.job set retry_count = $2, start_after = now()
       where name = 'payment-request' and data ->> 'requestId' = $1 and state = 'retry' returning id`,
      [request?.id, paymentRequestQueue.maxAttempts - 2],
    );
  await expect.poll(skip, { timeout: 30_000 }).toHaveLength(1);
  return request?.id ?? "";
}

test("a capture that fails in its last attempt is dead, and its order is cancelled with its units", async () => {
  gateway.failNext("capture", { before: noResponse() }, { before: noResponse() });
  const { order, payment } = await placeWithPayment(shop, [2n]);
  await shop.payments.capturePayment({ id: payment.id, requestId: randomUUID() });
  const requestId = await skipToLastAttempt(payment.id);
  await expect.poll(() => orderStateOf(order.id), { timeout: 30_000 }).toBe(OrderState.CANCELLED);
  await expect
    .poll(() => requestsOf(payment.id))
    .toMatchObject([
      { kind: "CAPTURE", state: "DEAD", attempts: paymentRequestQueue.maxAttempts },
      { kind: "CANCEL", state: "DONE" },
    ]);
  expect(errors).toContain("Payment request failed");
  const { discrepancies } = await shop.payments.listLedgerDiscrepancies({ orderId: order.id });
  expect(discrepancies).toMatchObject([{ kind: LedgerDiscrepancyKind.REQUEST_FAILED, reference: requestId }]);
  const { payments } = await shop.payments.listPayments({ attention: PaymentAttention.REQUEST_FAILED });
  expect(payments).toMatchObject([{ id: payment.id, inDoubt: true }]);
  const [stock] = await shop.database.query<{ reserved: string }>(
    "select reserved from inventory where product_id = $1",
    [order.items[0]?.productId],
  );
  expect(stock?.reserved).toBe("0");
});

test("a dead capture of a shipped order is made by RetryJob, with the same key", async () => {
  gateway.failNext("capture", { before: noResponse() }, { after: noResponse() });
  const { order, payment } = await placeWithPayment(shop, [1n]);
  await shop.orders.shipOrder({ requestId: randomUUID(), id: order.id });
  const requestId = await skipToLastAttempt(payment.id);
  await expect.poll(() => requestsOf(payment.id), { timeout: 30_000 }).toMatchObject([{ state: "DEAD" }]);
  expect(await orderStateOf(order.id)).toBe(OrderState.CONFIRMED);
  const failedJob = async () => {
    const { jobs } = await shop.operations.listFailedJobs({ queue: "payment-request" });
    const rows = await shop.database.query<{ id: string }>(
      "select id from pgboss.job where data ->> 'requestId' = $1",
      [requestId],
    );
    return jobs.find(({ id }) => id === rows[0]?.id)?.id;
  };
  await expect.poll(failedJob).toBeDefined();
  await shop.operations.retryJob({ id: (await failedJob()) ?? "" });
  await expect.poll(() => requestsOf(payment.id)).toMatchObject([{ kind: "CAPTURE", state: "DONE" }]);
  expect((await shop.orders.getOrder({ id: order.id })).order).toMatchObject({
    paymentState: OrderPaymentState.PAID,
    paidAmount: { minorUnits: 1_000n },
  });
  expect(gateway.factsOf(payment.id).filter(({ type }) => type === "CAPTURED")).toHaveLength(1);
  expect(gateway.calls.filter(({ key }) => key === requestId)).toHaveLength(3);
});
