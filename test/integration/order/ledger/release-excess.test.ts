import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { readOrders } from "../../../../src/order/change/lock-orders.ts";
import { releaseExcess } from "../../../../src/order/ledger/release/release-excess.ts";
import { payOrder, placeOrder } from "../../../support/orders/order-fixtures.ts";
import { copyOrders } from "../../../support/payments/copy-orders.ts";
import {
  captureOf,
  factOf,
  insertPayment,
  insertRequest,
  type LedgerReplica,
  openLedger,
  responseOf,
  rowsOf,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { automaticRefund } from "../../../support/payments/ledger-reads.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";

let shop: LedgerShop;
let other: LedgerReplica;
beforeAll(async () => {
  shop = await startLedgerShop();
  other = await openLedger(shop.database);
});
afterAll(async () => {
  await other.close();
  await shop.close();
});

/** Places an order of EUR 20.00 that is cancelled, with a payment. */
async function cancelledOrder(): Promise<TestPayment> {
  const { id } = await placeOrder(shop, [2n]);
  await shop.orders.cancelOrder({ id });
  return insertPayment(shop.database, id);
}

describe("money that arrives for a cancelled order", () => {
  test("is refunded once: its parts add up, its job is enqueued and the history names it", async () => {
    const payment = await cancelledOrder();
    const webhook = webhookOf(payment, [factOf(payment, "AUTHORIZED"), captureOf(payment)]);
    await Promise.all([1, 2, 3].map(() => shop.ledger.writer.apply(webhook)));
    const [refund, ...others] = await rowsOf(shop.database, "refund", payment);
    expect(others).toEqual([]);
    expect(refund).toMatchObject({
      ...automaticRefund(`LATE ch_${payment.id}`, "2000"),
      actor: "SYSTEM",
      reason: "The order is cancelled.",
    });
    expect(await shop.stored.requests(payment)).toEqual([["REFUND", "OPEN", "2000"]]);
    expect(shop.ledger.enqueued).toContain(refund?.id);
    const lines = await shop.database.query(
      "select position, quantity, amount_minor from refund_line where refund_id = $1",
      [refund?.id],
    );
    expect(lines).toEqual([{ position: 1, quantity: "0", amount_minor: "2000" }]);
    const { events } = await shop.orders.listOrderEvents({ id: payment.orderId, afterSequence: 2n });
    expect(events).toMatchObject([
      { sequence: 3n, paymentId: payment.id, amount: { minorUnits: 2_000n } },
      { sequence: 4n, paymentId: payment.id, refundId: refund?.id, amount: { minorUnits: 2_000n } },
    ]);
  });

  test("is cancelled while it is only authorized, once", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(payment, factOf(payment, "AUTHORIZED"));
    await shop.applyFacts(
      payment,
      factOf(payment, "AUTHORIZATION_FAILED", { reference: `earlier_${payment.id}` }),
    );
    expect(await shop.stored.requests(payment)).toEqual([["CANCEL", "OPEN", null]]);
    expect(await shop.stored.refunds(payment)).toEqual([]);
  });

  test("is not cancelled again by the response to its cancellation", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(payment, factOf(payment, "AUTHORIZED"));
    const [request] = await rowsOf(shop.database, "payment_request", payment);
    const statement = { requestId: String(request?.id), step: "PENDING" } as const;
    await shop.ledger.writer.apply(responseOf(payment, [factOf(payment, "AUTHORIZED")], statement));
    expect(await shop.stored.requests(payment)).toEqual([["CANCEL", "DONE", null]]);
  });

  test("is refunded by each capture, and never beyond what was captured", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(payment, captureOf(payment, 500n, "first"));
    await shop.applyFacts(payment, captureOf(payment, 1_500n, "second"));
    expect(await shop.stored.refunds(payment)).toEqual([
      automaticRefund(`LATE first_${payment.id}`, "500"),
      automaticRefund(`LATE second_${payment.id}`, "1500"),
    ]);
  });

  test("is not refunded again when its refund fails: staff decide", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(payment, captureOf(payment));
    const [refund] = await rowsOf(shop.database, "refund", payment);
    const requestId = String(refund?.id);
    await shop.applyFacts(
      payment,
      factOf(payment, "REFUND_FAILED", { reference: `re_${payment.id}`, requestId }),
    );
    expect(await shop.stored.refunds(payment)).toEqual([
      { ...automaticRefund(`LATE ch_${payment.id}`, "2000"), state: "FAILED" },
    ]);
    expect(await rowsOf(shop.database, "payment_discrepancy", payment)).toMatchObject([
      { kind: "REQUEST_FAILED", reference: requestId },
    ]);
  });

  test("is refunded after a dispute of it is won", async () => {
    const payment = await cancelledOrder();
    const dispute = { reference: `dp_${payment.id}` };
    await shop.applyFacts(payment, factOf(payment, "DISPUTED", dispute));
    await shop.applyFacts(payment, captureOf(payment));
    expect(await shop.stored.refunds(payment)).toEqual([]);
    await shop.applyFacts(payment, factOf(payment, "DISPUTE_WON", dispute));
    expect(await shop.stored.refunds(payment)).toEqual([automaticRefund(`LATE dp_${payment.id}`, "2000")]);
  });

  test("is refunded without what the gateway has refunded by itself", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(
      payment,
      factOf(payment, "REFUNDED", { reference: `re_${payment.id}`, minorUnits: 300n }),
    );
    await shop.applyFacts(payment, captureOf(payment));
    expect(await shop.stored.refunds(payment)).toEqual([automaticRefund(`LATE ch_${payment.id}`, "1700")]);
  });

  test("is not refunded while a fact has two amounts", async () => {
    const payment = await cancelledOrder();
    await shop.applyFacts(payment, factOf(payment, "AUTHORIZED", { minorUnits: 1n }));
    await shop.applyFacts(payment, captureOf(payment));
    expect(await shop.stored.refunds(payment)).toEqual([]);
    expect(await shop.stored.requests(payment)).toEqual([["CANCEL", "OPEN", null]]);
  });

  test("is refunded once when several replicas receive its webhooks at the same time", async () => {
    const { id } = await placeOrder(shop, [2n]);
    const ids = await copyOrders(shop.database, id, 100, { closing: "EXPIRED" });
    const payments = await Promise.all(ids.map((orderId) => insertPayment(shop.database, orderId)));
    const outcomes = await Promise.all(
      payments.flatMap((payment) =>
        [shop.ledger, other, shop.ledger, other].map(({ writer }, index) => {
          const captured = captureOf(payment);
          const authorized = factOf(payment, "AUTHORIZED");
          return writer.apply(webhookOf(payment, index % 2 === 0 ? [authorized, captured] : [captured]));
        }),
      ),
    );
    expect(outcomes.every(({ outcome }) => outcome === "APPLIED")).toBe(true);
    const refunds = await shop.database.query(
      `select count(*)::int as refunds, count(distinct payment_id)::int as payments, sum(amount_minor)::int as amount
       from refund where order_id = any($1::uuid[])`,
      [ids],
    );
    expect(refunds).toEqual([{ refunds: 100, payments: 100, amount: 200_000 }]);
    const entries = await shop.database.query(
      "select count(*)::int as entries from ledger_entry where order_id = any($1::uuid[])",
      [ids],
    );
    expect(entries).toEqual([{ entries: 200 }]);
    const events = await shop.database.query(
      `select type, count(*)::int as events from order_event
       where order_id = any($1::uuid[]) and type in ('PAID', 'REFUND_REQUESTED') group by type order by type`,
      [ids],
    );
    expect(events).toEqual([
      { type: "PAID", events: 100 },
      { type: "REFUND_REQUESTED", events: 100 },
    ]);
  });
});

describe("money beyond what an open order costs", () => {
  test("is that of the later payment, whichever arrives first", async () => {
    const { id } = await placeOrder(shop, [2n]);
    const earlier = await insertPayment(shop.database, id, { isOpen: false });
    const later = await insertPayment(shop.database, id);
    await shop.applyFacts(later, captureOf(later));
    expect(await shop.stored.refunds(later)).toEqual([]);
    await shop.applyFacts(earlier, captureOf(earlier));
    expect(await shop.stored.refunds(earlier)).toEqual([]);
    expect(await shop.stored.refunds(later)).toEqual([automaticRefund(`LATE ch_${earlier.id}`, "2000")]);
    expect(await rowsOf(shop.database, "payment_discrepancy", earlier)).toEqual([]);
  });

  test("is that of a gateway if the order was paid by hand", async () => {
    const placed = await placeOrder(shop, [2n]);
    const payment = await insertPayment(shop.database, placed.id);
    await payOrder(shop, placed);
    await shop.applyFacts(payment, captureOf(payment));
    expect(await shop.stored.refunds(payment)).toEqual([automaticRefund(`LATE ch_${payment.id}`, "2000")]);
    const { order } = await shop.orders.getOrder({ id: placed.id });
    expect(order?.paidAmount?.minorUnits).toBe(4_000n);
  });

  test("within one payment is a discrepancy", async () => {
    const payment = await shop.placePayment({ minorUnits: 2_500n });
    await shop.applyFacts(payment, captureOf(payment));
    expect(await shop.stored.refunds(payment)).toEqual([]);
    expect(await rowsOf(shop.database, "payment_discrepancy", payment)).toMatchObject([
      { kind: "OVERPAID", expected_minor: "2000", actual_minor: "2500" },
    ]);
  });

  test("is all of it when the units of the order were cancelled before, and the order stays paid", async () => {
    const placed = await placeOrder(shop, [2n]);
    await placeOrder(shop, [1n]);
    const payment = await insertPayment(shop.database, placed.id);
    await shop.database.query("update orders set payment_state = 'PAID' where id = $1", [placed.id]);
    await shop.database.query("update order_item set cancelled_quantity = quantity where order_id = $1", [
      placed.id,
    ]);
    await shop.applyFacts(payment, factOf(payment, "AUTHORIZED"));
    expect(await shop.stored.requests(payment)).toEqual([["CANCEL", "OPEN", null]]);
    await shop.applyFacts(payment, factOf(payment, "VOIDED"));
    const [order] = await shop.database.query("select payment_state, paid_minor from orders where id = $1", [
      placed.id,
    ]);
    expect(order).toEqual({ payment_state: "PAID", paid_minor: "0" });
  });
});

describe("the money of an order that is closed now", () => {
  const release = async (orderId: string, { db, options }: LedgerReplica = shop.ledger) => {
    const call = internalCall();
    return db.transact(call, async (tx) => releaseExcess(options, tx, call, await readOrders(tx, [orderId])));
  };

  test("is refunded or cancelled, once", async () => {
    const { id } = await placeOrder(shop, [2n]);
    const captured = await insertPayment(shop.database, id, { isOpen: false });
    const pending = await insertPayment(shop.database, id, { isOpen: false, reference: null });
    const declined = await insertPayment(shop.database, id, { isOpen: false });
    const rejected = await insertPayment(shop.database, id, { isOpen: false, reference: null });
    await shop.applyFacts(captured, captureOf(captured));
    const failure = factOf(declined, "AUTHORIZATION_FAILED", { reference: `ch_${declined.id}` });
    await shop.applyFacts(declined, failure);
    await shop.ledger.writer.apply(responseOf({ id: rejected.id, reference: "" }, [], { step: "FAILED" }));
    await shop.database.query("delete from payment_request where order_id = $1", [id]);
    await shop.database.query("update orders set closing = 'CANCELLED' where id = $1", [id]);
    const [first] = await release(id);
    const [second] = await release(id);
    expect(second?.etag).toBe(first?.etag);
    expect(await shop.stored.refunds(captured)).toEqual([automaticRefund("CLOSED", "2000")]);
    expect(await shop.stored.requests(captured)).toEqual([["REFUND", "OPEN", "2000"]]);
    // The buyer could confirm the declined one again. The gateway does not know the rejected one.
    expect(await shop.stored.requests(pending)).toEqual([["CANCEL", "OPEN", null]]);
    expect(await shop.stored.requests(declined)).toEqual([["CANCEL", "OPEN", null]]);
    expect(await shop.stored.requests(rejected)).toEqual([]);
  });

  test("is not refunded beyond the refunds that staff have requested", async () => {
    const payment = await shop.placePayment();
    await shop.applyFacts(payment, captureOf(payment));
    await insertRequest(shop.database, payment, "REFUND", { minorUnits: 600n });
    await shop.database.query("update orders set closing = 'CANCELLED' where id = $1", [payment.orderId]);
    await release(payment.orderId);
    expect((await shop.stored.refunds(payment)).map(({ amount_minor: amount }) => amount)).toEqual([
      "600",
      "1400",
    ]);
  });

  test("stays if it was paid by hand", async () => {
    const placed = await placeOrder(shop, [2n]);
    await payOrder(shop, placed);
    await shop.orders.cancelOrder({ id: placed.id });
    await release(placed.id);
    const requests = await shop.database.query("select from payment_request where order_id = $1", [
      placed.id,
    ]);
    expect(requests).toEqual([]);
  });
});
