import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LedgerFact } from "../../../../src/infra/payment/payment-gateway.ts";
import { placeOrder } from "../../../support/orders/order-fixtures.ts";
import { type CopiedStates, copyOrders } from "../../../support/payments/copy-orders.ts";
import {
  factOf,
  insertPayment,
  type TestPayment,
  webhookOf,
} from "../../../support/payments/ledger-fixtures.ts";
import { type LedgerShop, startLedgerShop } from "../../../support/payments/ledger-shop.ts";
import { permutations } from "../../../support/permutations.ts";

let shop: LedgerShop;
/** The order that is copied: EUR 20.00. */
let original = "";
beforeAll(async () => {
  shop = await startLedgerShop();
  original = (await placeOrder(shop, [2n])).id;
});
afterAll(() => shop.close());

type Events = (payment: TestPayment) => LedgerFact[];

/** The references of facts are unique in the ledger, so each payment has its own. */
const of = (payment: TestPayment, type: LedgerFact["type"], minorUnits: bigint, name: string) =>
  factOf(payment, type, { minorUnits, reference: `${name}_${payment.id}` });

const wonDispute: Events = (payment) => [
  factOf(payment, "AUTHORIZED"),
  of(payment, "CAPTURED", 2_000n, "ch"),
  of(payment, "REFUNDED", 300n, "re"),
  of(payment, "REFUND_FAILED", 300n, "re"),
  of(payment, "DISPUTED", 2_000n, "dp"),
  of(payment, "DISPUTE_WON", 2_000n, "dp"),
];
const lostDispute: Events = (payment) => [
  factOf(payment, "AUTHORIZED"),
  of(payment, "CAPTURED", 1_200n, "ch"),
  factOf(payment, "VOIDED", { minorUnits: 800n }),
  of(payment, "REFUNDED", 500n, "re"),
  of(payment, "DISPUTED", 200n, "dp"),
  of(payment, "DISPUTE_LOST", 200n, "dp"),
];
const conflict: Events = (payment) => [
  of(payment, "AUTHORIZATION_FAILED", 2_000n, "ch"),
  factOf(payment, "AUTHORIZED"),
  of(payment, "CAPTURE_FAILED", 2_000n, "cap"),
  of(payment, "CAPTURED", 1_900n, "ch"),
  of(payment, "CAPTURED", 2_000n, "ch"),
  of(payment, "REFUNDED", 2_000n, "re"),
];

interface Result {
  payment_state: string;
  closing: string;
  paid: number;
  refunded: number;
  version: number;
  state: string;
  is_open: boolean;
  sums: number[];
  entries: string;
}

/** Returns what all permutations have led to: each different result once. */
function resultsOf(ids: readonly string[]): Promise<(Result & { orders: number })[]> {
  return shop.database.query(
    `select result.*, count(*)::int as orders from (
       select orders.payment_state, closing, paid_minor::int as paid, orders.refunded_minor::int as refunded,
         payment.state, is_open,
         array[authorized_minor, captured_minor, payment.refunded_minor, disputed_minor, lost_minor]::int[] as sums,
         (select string_agg(type || ' ' || amount_minor, ', ' order by type, amount_minor)
          from ledger_entry where payment_id = payment.id) as entries
       from orders join payment on order_id = orders.id where orders.id = any($1::uuid[])
     ) as result group by result.*, 1, 2, 3, 4, 5, 6, 7, 8`,
    [ids],
  );
}

/** Applies the events of a payment in each of their orders, each to an order of its own. */
async function applyPermutations(events: Events, states: CopiedStates): Promise<string[]> {
  const orders = permutations([0, 1, 2, 3, 4, 5]);
  const ids = await copyOrders(shop.database, original, orders.length, states);
  await Promise.all(
    orders.map(async (order, index) => {
      const payment = await insertPayment(shop.database, ids[index] ?? "", { reference: null });
      const facts = events(payment);
      const webhooks = order.map((position) => webhookOf(payment, facts.slice(position, position + 1)));
      for (const webhook of webhooks) await shop.ledger.writer.apply(webhook);
    }),
  );
  return ids;
}

const starts: [string, CopiedStates][] = [
  ["that is unpaid", {}],
  ["whose payment has failed", { paymentState: "FAILED" }],
  ["that is about to expire", { closing: "EXPIRING" }],
  ["that has expired", { closing: "EXPIRED" }],
  ["that is cancelled", { closing: "CANCELLED" }],
  ["that is shipped", { fulfillmentState: "FULFILLED" }],
];

describe.each(starts)("each of the 720 orders of six events, for an order %s", (_name, states) => {
  const closing = states.closing ?? "NONE";

  test("ends in the same ledger, the same payment and the same order, with a dispute that is won", async () => {
    const ids = await applyPermutations(wonDispute, states);
    expect(await resultsOf(ids)).toEqual([
      {
        orders: 720,
        closing,
        payment_state: "PAID",
        paid: 2_000,
        refunded: 0,
        state: "CAPTURED",
        is_open: false,
        sums: [2_000, 2_000, 0, 0, 0],
        entries:
          "AUTHORIZED 2000, CAPTURED 2000, DISPUTED 2000, DISPUTE_WON 2000, REFUNDED 300, REFUND_FAILED 300",
      },
    ]);
    const isClosed = closing === "EXPIRED" || closing === "CANCELLED";
    const requested = await shop.database.query(
      `select requested_refund_minor::int as requested, count(*)::int as payments
       from payment where order_id = any($1::uuid[]) group by 1`,
      [ids],
    );
    expect(requested).toEqual([{ requested: isClosed ? 2_000 : 0, payments: 720 }]);
  });
});

describe.each(starts.filter(([, { closing = "NONE" }]) => closing === "NONE"))(
  "each of the 720 orders of six other events, for an order %s",
  (_name, states) => {
    const closing = "NONE";

    test("ends in the same ledger, the same payment and the same order, with a dispute that is lost", async () => {
      const ids = await applyPermutations(lostDispute, states);
      expect(await resultsOf(ids)).toEqual([
        {
          orders: 720,
          closing,
          payment_state: "PARTIALLY_REFUNDED",
          paid: 1_200,
          refunded: 700,
          state: "CAPTURED",
          is_open: false,
          sums: [2_000, 1_200, 500, 0, 200],
          entries: "AUTHORIZED 2000, CAPTURED 1200, DISPUTED 200, DISPUTE_LOST 200, REFUNDED 500, VOIDED 800",
        },
      ]);
    });

    test("ends in the same ledger, the same payment and the same order, with two amounts of a capture", async () => {
      const ids = await applyPermutations(conflict, states);
      expect(await resultsOf(ids)).toEqual([
        {
          orders: 720,
          closing,
          payment_state: "REFUNDED",
          paid: 2_000,
          refunded: 2_000,
          state: "CAPTURED",
          is_open: false,
          sums: [2_000, 2_000, 2_000, 0, 0],
          entries:
            "AUTHORIZATION_FAILED 2000, AUTHORIZED 2000, CAPTURED 1900, CAPTURED 2000, CAPTURE_FAILED 2000, REFUNDED 2000",
        },
      ]);
      const conflicts = await shop.database.query(
        `select kind, count(*)::int as found, count(distinct payment_id)::int as payments
       from payment_discrepancy where order_id = any($1::uuid[]) and kind = 'AMOUNT_CONFLICT' group by kind`,
        [ids],
      );
      expect(conflicts).toEqual([{ kind: "AMOUNT_CONFLICT", found: 720, payments: 720 }]);
    });
  },
);

test("an event that is repeated changes neither the ledger nor the version of the order", async () => {
  const [orderId = ""] = await copyOrders(shop.database, original, 1);
  const payment = await insertPayment(shop.database, orderId);
  const webhooks = wonDispute(payment).map((fact) => webhookOf(payment, [fact]));
  for (const webhook of webhooks) await shop.ledger.writer.apply(webhook);
  const stored = () =>
    Promise.all([
      shop.database.query("select * from orders where id = $1", [orderId]),
      shop.database.query("select * from payment where id = $1", [payment.id]),
      shop.database.query("select * from ledger_entry where payment_id = $1 order by id", [payment.id]),
      shop.database.query("select * from order_event where order_id = $1 order by sequence", [orderId]),
    ]);
  const before = await stored();
  expect(before[2]).toHaveLength(6);
  expect(before[3]).toHaveLength(6);
  await Promise.all([...webhooks, ...webhooks].map((webhook) => shop.ledger.writer.apply(webhook)));
  expect(await stored()).toEqual(before);
});
