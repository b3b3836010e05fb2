import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Order } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { OrderState, PaymentState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { payOrder, placeOrder } from "../../../support/orders/order-fixtures.ts";
import {
  captureOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let replicas: LedgerReplica[];
beforeAll(async () => {
  shop = await startShop();
  replicas = await Promise.all([openLedger(shop.database), openLedger(shop.database)]);
});
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.close()));
  await shop.close();
});

/** Applies the capture of a payment in all replicas at the same time. */
const applyCapture = (payment: TestPayment) =>
  Promise.all(replicas.map(({ writer }) => writer.apply(webhookOf(payment, [captureOf(payment)]))));

/** Places orders of EUR 20.00, each with a payment that waits for the buyer. */
async function placeOrders(count: number): Promise<{ placed: Order; payment: TestPayment }[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const placed = await placeOrder(shop, [2n]);
      return { placed, payment: await insertPayment(shop.database, placed.id) };
    }),
  );
}

/** Returns the refunds of orders: how many, of how many payments, and their sum. */
const refundsOf = (orders: readonly { placed: Order }[]) =>
  shop.database.query(
    `select count(*)::int as refunds, count(distinct payment_id)::int as payments, sum(amount_minor)::int as amount
     from refund where order_id = any($1::uuid[])`,
    [orders.map(({ placed }) => placed.id)],
  );

test("orders that are cancelled while their payment is captured are refunded once, whichever is first", async () => {
  const orders = await placeOrders(40);
  await Promise.all(
    orders.flatMap(({ placed: { id }, payment }) => [shop.orders.cancelOrder({ id }), applyCapture(payment)]),
  );
  expect(await refundsOf(orders)).toEqual([{ refunds: 40, payments: 40, amount: 80_000 }]);
  for (const { placed } of orders) {
    const { order } = await shop.orders.getOrder({ id: placed.id });
    expect(order).toMatchObject({ state: OrderState.CANCELLED, paymentState: PaymentState.PAID });
  }
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("of a payment by hand and a capture at the same time, the capture is refunded", async () => {
  const orders = await placeOrders(20);
  const paidByHand = await Promise.all(
    orders.map(async ({ placed, payment }) => {
      const [byHand] = await Promise.allSettled([payOrder(shop, placed), applyCapture(payment)]);
      return byHand.status === "fulfilled";
    }),
  );
  const count = paidByHand.filter((isPaid) => isPaid).length;
  const [refunds] = await refundsOf(orders);
  expect(refunds).toMatchObject({ refunds: count, payments: count });
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a report about an order that another session has locked waits for it, and delays no other", async () => {
  const [locked, ...others] = await placeOrders(5);
  const session = new Client({ connectionString: shop.database.url });
  await session.connect();
  try {
    await session.query("begin");
    await session.query("select from orders where id = $1 for update", [locked?.placed.id]);
    const waiting = locked && applyCapture(locked.payment);
    await Promise.all(others.map(({ payment }) => applyCapture(payment)));
    const { order } = await shop.orders.getOrder({ id: locked?.placed.id ?? "" });
    expect(order?.paymentState).toBe(PaymentState.UNPAID);
    await session.query("rollback");
    expect(await waiting).toMatchObject([{ outcome: "APPLIED" }, { outcome: "APPLIED" }]);
  } finally {
    await session.end();
  }
});

test("reports that wait for a cancellation are applied to the cancelled order, once", async () => {
  const [one] = await placeOrders(1);
  if (one === undefined) throw new Error("no order");
  const { placed, payment } = one;
  const session = new Client({ connectionString: shop.database.url });
  await session.connect();
  try {
    await session.query("begin");
    await session.query(
      `with cancelled as (
         update orders set closing = 'CANCELLED', version = version + 1 where id = $1 returning *
       )
       insert into order_event (order_id, sequence, type, actor, reason, payment_state, fulfillment_state, closing, details, created_at)
       select id, version, 'CANCELLED', 'SYSTEM', '', payment_state, fulfillment_state, closing, '{}', now() from cancelled`,
      [placed.id],
    );
    const applied = applyCapture(payment);
    let isApplied = false;
    void applied.finally(() => {
      isApplied = true;
    });
    // Both replicas have found no fact by now, and wait for the order.
    await expect
      .poll(
        async () => {
          const [{ waiting = 0 } = {}] = await shop.database.query<{ waiting: number }>(
            "select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
          );
          return isApplied || waiting >= 2;
        },
        { interval: 5 },
      )
      .toBe(true);
    await session.query("commit");
    await applied;
  } finally {
    await session.end();
  }
  const { order } = await shop.orders.getOrder({ id: placed.id });
  expect(order).toMatchObject({ state: OrderState.CANCELLED, paymentState: PaymentState.PAID, etag: "4" });
  const events = await shop.database.query(
    "select type from order_event where order_id = $1 order by sequence",
    [placed.id],
  );
  expect(events).toEqual([{ type: "CANCELLED" }, { type: "PAID" }, { type: "REFUND_REQUESTED" }]);
  expect(await refundsOf([one])).toEqual([{ refunds: 1, payments: 1, amount: 2_000 }]);
});
