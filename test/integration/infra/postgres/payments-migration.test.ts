import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { addPayments } from "../../../../src/infra/postgres/migrations/online/migration-20261201010000-payments.ts";
import type { Log } from "../../../../src/kernel/log.ts";
import { silentLog } from "../../../support/log.ts";
import { migrateToFormer } from "../../../support/migration/former-database.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

const PREVIOUS = "migration-20261201000000-fulfillment-update";
const ORDERS = 2_500;

let database: TestDatabase;
let client: Client;
beforeEach(async () => {
  database = await createTestDatabase("template1");
  await migrateToFormer(database.url, PREVIOUS);
  client = new Client({ connectionString: database.url });
  await client.connect();
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

/** Inserts orders without items. */
async function insertOrders(count: number): Promise<string[]> {
  const rows = await database.query<{ id: string }>(
    `insert into orders (id, currency, total_minor, owner, request_id, version, created_at, updated_at)
     select gen_random_uuid(), 'JPY', 1000, 'shop', gen_random_uuid(), 1, now(), now() from generate_series(1, $1)
     returning id`,
    [count],
  );
  return rows.map(({ id }) => id);
}

/** Marks orders as paid by hand, as replicas of the previous version do. */
async function markPaid(ids: readonly string[], sequence = 2): Promise<void> {
  await database.query(
    `with event as (
       insert into order_event (order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at)
       select id, $2, 'PAID', 'STAFF account:1', 'PAID', 'UNFULFILLED', 'NONE',
         '{"amount": "1000", "method": "CASH", "reference": "receipt 7"}', now()
       from unnest($1::uuid[]) as id
     )
     update orders set payment_state = 'PAID', paid_minor = 1000, version = $2 where id = any($1::uuid[])`,
    [ids, sequence],
  );
}

/** Counts the payments, and those orders whose paid amount is not that of one payment and one entry. */
async function countPayments(): Promise<{ payments: number; entries: number; wrong: number }> {
  const [row] = await database.query<{ payments: number; entries: number; wrong: number }>(`
    select (select count(*)::int from payment) as payments, (select count(*)::int from ledger_entry) as entries, (
      select count(*)::int from orders
      left join payment on payment.order_id = orders.id
      left join ledger_entry as entry on entry.payment_id = payment.id and entry.reference = payment.id::text
        and entry.amount_minor = payment.captured_minor and entry.currency = orders.currency
      where paid_minor <> coalesce(entry.amount_minor, 0)
    ) as wrong`);
  if (row === undefined) throw new Error("no counts");
  return row;
}

test("the migration records each payment by hand once, with interruptions at each event of its log, and rewrites no row", async () => {
  await markPaid(await insertOrders(ORDERS));
  const file = () => database.query("select pg_relation_filenode('orders') as file");
  const before = await file();
  const reached: string[] = [];
  const interrupt = (fields: object, message: string) => {
    const event = JSON.stringify([message, fields]).replace(/"(lockedMs|durationMs)":\d+/g, "");
    if (reached.includes(event)) return;
    reached.push(event);
    throw new Error("interrupted");
  };
  const log: Log = { ...silentLog, debug: interrupt, info: interrupt };
  const run = () =>
    addPayments({ client, log }).then(
      () => true,
      () => false,
    );
  while (!(await run()));
  expect(reached.length).toBeGreaterThanOrEqual(4);
  expect(await file()).toEqual(before);
  expect(await countPayments()).toEqual({ payments: ORDERS, entries: ORDERS, wrong: 0 });
});

test("payments that replicas of the previous version record during and after the migration are in the ledger", async () => {
  const [early = "", late = ""] = await insertOrders(2);
  const log: Log = { ...silentLog, info: (_fields, message) => void events.push(message) };
  const events: string[] = [];
  await markPaid([early]);
  await addPayments({ client, log });
  expect(events).toContain("Migration step completed");
  await markPaid([late]);
  expect(await countPayments()).toEqual({ payments: 2, entries: 2, wrong: 0 });
});

test("units that were cancelled before the payment are recorded with it", async () => {
  const [id = ""] = await insertOrders(1);
  const cancel = (sequence: number, quantity: number) =>
    database.query(
      `insert into order_event (order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at)
       values ($1, $2, 'ITEMS_CANCELLED', 'SYSTEM', 'UNPAID', 'UNFULFILLED', 'NONE', $3, now())`,
      [id, sequence, { items: [{ id: "1", quantity: String(quantity) }] }],
    );
  await cancel(2, 1);
  await cancel(3, 2);
  await markPaid([id], 4);
  await cancel(5, 4);
  await addPayments({ client, log: silentLog });
  const payments = await database.query("select cancelled_units, manual_reference, state from payment");
  expect(payments).toEqual([
    { cancelled_units: { 1: "3" }, manual_reference: "receipt 7", state: "CAPTURED" },
  ]);
});

test("an event that names its payment records no other one", async () => {
  await addPayments({ client, log: silentLog });
  const [id = ""] = await insertOrders(1);
  await database.query(
    `insert into order_event (order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at)
     values ($1, 2, 'PAID', 'SYSTEM', 'PAID', 'UNFULFILLED', 'NONE', $2, now())`,
    [id, { amount: "1000", paymentId: randomUUID() }],
  );
  expect(await countPayments()).toMatchObject({ payments: 0, entries: 0 });
});

test("entries of the ledger cannot be changed or deleted, and a repeat is rejected unless its amount differs", async () => {
  await addPayments({ client, log: silentLog });
  const insert = (amount: number) =>
    database.query(
      `insert into ledger_entry (id, gateway, type, reference, amount_minor, currency, source, created_at)
       values (gen_random_uuid(), 'stripe', 'REFUNDED', 're_1', $1, 'EUR', 'WEBHOOK', now())
       on conflict do nothing returning amount_minor`,
      [amount],
    );
  expect([await insert(100), await insert(100), await insert(90)].map(({ length }) => length)).toEqual([
    1, 0, 1,
  ]);
  await expect(database.query("update ledger_entry set amount_minor = 1")).rejects.toThrow("never change");
  await expect(database.query("delete from ledger_entry")).rejects.toThrow("never change");
});

test("the refunds that are requested of a payment cannot exceed what was captured", async () => {
  await markPaid(await insertOrders(1));
  await addPayments({ client, log: silentLog });
  await database.query("update payment set requested_refund_minor = 1000");
  await expect(database.query("update payment set requested_refund_minor = 1001")).rejects.toThrow(
    "payment_refunds_within_captured",
  );
});
