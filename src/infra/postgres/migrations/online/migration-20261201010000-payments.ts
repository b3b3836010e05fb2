import { type Batch, runInBatches } from "../../online/batches.ts";
import { exists, hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";
import { PAYMENT_TABLES } from "../payment/payment-tables.ts";

/** Events whose payments are migrated in one transaction. */
const BATCH_EVENTS = 1_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Adds payments, their ledger, refunds and webhooks, and records the payments by hand that orders have already. Replicas of
 * the previous version mark orders as paid meanwhile, and afterwards: a trigger records these payments. It can be removed
 * in the version after this one.
 */
export async function addPayments(session: OnlineSession): Promise<void> {
  await createTables(session);
  if (!(await hasColumn(session, "orders", "refunded_minor"))) {
    await withTableLocks(session, { tables: ["orders"], mode: "access exclusive" }, async () => {
      // The constant default rewrites no row.
      await session.client.query("alter table orders add refunded_minor bigint not null default 0");
    });
  }
  await migrateManualPayments(session);
}

async function createTables(session: OnlineSession): Promise<void> {
  const { client } = session;
  if (!(await exists(session, "select from pg_class where oid = to_regclass('payment')"))) {
    // A foreign key locks the table that it refers to against writers.
    await withTableLocks(session, { tables: ["orders"], mode: "share row exclusive" }, async () => {
      for (const statement of PAYMENT_TABLES) await client.query(statement);
    });
  }
  await withTableLocks(session, { tables: ["order_event"], mode: "share row exclusive" }, async () => {
    await client.query(RECORD_FUNCTION);
    await client.query("drop trigger if exists order_event_manual_payment on order_event");
    await client.query(`
      create trigger order_event_manual_payment after insert on order_event for each row
      when (new.type = 'PAID' and not new.details ? 'paymentId')
      execute function record_manual_payment()`);
  });
}

/**
 * The statement that records the payments of PAID events that name none. The payment of an event has an id that follows
 * from it, so that it is recorded once.
 * @param events a query for rows of `order_event`
 */
const recordPayments = (events: string) => `
  with event as (
    select paid.order_id, paid.sequence, (paid.details ->> 'amount')::bigint as minor, paid.created_at, orders.currency,
      coalesce(paid.details ->> 'reference', '') as reference,
      md5(paid.order_id || ' payment ' || paid.sequence)::uuid as payment_id,
      md5(paid.order_id || ' entry ' || paid.sequence)::uuid as entry_id
    from (${events}) as paid join orders on orders.id = paid.order_id
    where paid.type = 'PAID' and not paid.details ? 'paymentId' and (paid.details ->> 'amount')::bigint > 0
  ),
  recorded as (
    insert into payment (
      id, order_id, gateway, amount_minor, currency, capture, step, state, is_open, captured_minor, manual_reference,
      cancelled_units, request_id, created_at, updated_at
    )
    select payment_id, order_id, 'manual', minor, currency, 'AT_ORDER', 'PENDING', 'CAPTURED', false, minor, reference,
      (
        select jsonb_object_agg(position, units::text) from (
          select unit ->> 'id' as position, sum((unit ->> 'quantity')::bigint) as units
          from order_event as earlier, jsonb_array_elements(earlier.details -> 'items') as unit
          where earlier.order_id = event.order_id and earlier.type = 'ITEMS_CANCELLED' and earlier.sequence < event.sequence
          group by 1
        ) as cancelled
      ),
      payment_id, created_at, created_at
    from event
    on conflict do nothing
  )
  insert into ledger_entry (
    id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, note, created_at
  )
  select entry_id, order_id, payment_id, 'manual', 'CAPTURED', payment_id::text, minor, currency, 'MIGRATION', reference,
    created_at
  from event
  on conflict do nothing`;

const RECORD_FUNCTION = `
  create or replace function record_manual_payment() returns trigger language plpgsql as $$
  begin
    ${recordPayments("select new.order_id, new.sequence, new.type, new.details, new.created_at")};
    return null;
  end
  $$`;

async function migrateManualPayments(session: OnlineSession): Promise<void> {
  const { client } = session;
  // There is no index of the types of events: the orders that were paid by hand have a paid amount.
  await runInBatches(session, {
    name: "payments by hand",
    countRows: "select count(*) from orders where paid_minor > 0",
    first: FIRST_ID,
    async migrate(after): Promise<Batch<string> | undefined> {
      const { rows } = await client.query<{ id: string }>(
        "select id from orders where id > $1 and paid_minor > 0 order by id limit $2",
        [after, BATCH_EVENTS],
      );
      const last = rows.at(-1);
      if (last === undefined) return undefined;
      const ids = rows.map(({ id }) => id);
      await client.query(recordPayments("select * from order_event where order_id = any($1::uuid[])"), [ids]);
      return { rows: rows.length, last: last.id };
    },
  });
}
