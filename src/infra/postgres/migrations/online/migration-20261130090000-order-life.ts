import { type Batch, runInBatches } from "../../online/batches.ts";
import { addConstraint } from "../../online/online-schema.ts";
import { hasColumn, type OnlineSession } from "../../online/online-session.ts";
import { withTableLocks } from "../../online/table-locks.ts";

/** Orders whose cancellation is migrated in one transaction. */
const BATCH_ORDERS = 500;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Adds payment, shipment, totals, addresses and expiry to orders, their history and their shipments. It is the last
 * migration of its version: replicas of the previous version fail from its last step on, which rewrites `orders`, because
 * the state becomes a stored generated column. What can be done before that step is.
 */
export async function addOrderLife(session: OnlineSession): Promise<void> {
  await createTables(session);
  await addItemColumns(session);
  if (await hasColumn(session, "orders", "payment_state")) return;
  await migrateCancellations(session);
  await changeOrders(session);
}

async function createTables(session: OnlineSession): Promise<void> {
  const { client } = session;
  await withTableLocks(session, { tables: ["orders"], mode: "share row exclusive" }, async () => {
    await client.query(`
      create table if not exists order_event (
        order_id uuid not null references orders (id),
        sequence int not null,
        type text not null,
        actor text not null,
        reason text not null default '',
        payment_state text not null,
        fulfillment_state text not null,
        closing text not null,
        details jsonb not null,
        created_at timestamptz(3) not null,
        primary key (order_id, sequence),
        constraint order_event_sequence_in_range check (sequence > 1)
      )`);
    await client.query(`
      create table if not exists order_expiry (
        order_id uuid primary key references orders (id),
        attempts int not null,
        retry_at timestamptz(3) not null
      )`);
    await client.query("create index if not exists order_expiry_retry on order_expiry (retry_at)");
    await client.query(`
      create table if not exists fulfillment (
        id uuid primary key,
        order_id uuid not null references orders (id),
        carrier text not null,
        tracking_number text not null,
        tracking_uri text not null,
        created_at timestamptz(3) not null,
        delivered_at timestamptz(3) null
      )`);
    await client.query("create index if not exists fulfillment_order on fulfillment (order_id, id)");
    await client.query(`
      create table if not exists fulfillment_item (
        fulfillment_id uuid not null references fulfillment (id),
        position smallint not null,
        quantity bigint not null,
        primary key (fulfillment_id, position),
        constraint fulfillment_item_quantity_in_range check (quantity between 1 and 10000)
      )`);
  });
}

/** Adds the columns of items, with constant defaults. The previous version names the columns that it reads. */
async function addItemColumns(session: OnlineSession): Promise<void> {
  await withTableLocks(session, { tables: ["order_item"], mode: "access exclusive" }, async () => {
    await session.client.query(`
      alter table order_item
        add column if not exists tax_minor bigint not null default 0,
        add column if not exists cancelled_quantity bigint not null default 0,
        add column if not exists fulfilled_quantity bigint not null default 0,
        add column if not exists returned_quantity bigint not null default 0`);
  });
  await addConstraint(session, {
    table: "order_item",
    name: "order_item_units_add_up",
    definition: `check (
      cancelled_quantity >= 0 and returned_quantity between 0 and fulfilled_quantity
      and cancelled_quantity + fulfilled_quantity <= quantity and tax_minor >= 0)`,
  });
}

/** Migrates the orders that are cancelled already. Those that the previous version cancels meanwhile are left. */
async function migrateCancellations(session: OnlineSession): Promise<void> {
  await runInBatches(session, {
    name: "cancelled orders",
    countRows: "select count(*) from orders where state = 'CANCELLED'",
    first: FIRST_ID,
    async migrate(after): Promise<Batch<string> | undefined> {
      const { rows } = await session.client.query<{ id: string }>(
        "select id from orders where id > $1 and state = 'CANCELLED' order by id limit $2",
        [after, BATCH_ORDERS],
      );
      const last = rows.at(-1);
      if (last === undefined) return undefined;
      await migrateCancelled(
        session,
        rows.map(({ id }) => id),
      );
      return { rows: rows.length, last: last.id };
    },
  });
}

/** Cancels the units of cancelled orders, and records the event of their cancellation, whose actor is not known. */
async function migrateCancelled({ client }: OnlineSession, ids: readonly string[]): Promise<void> {
  await client.query(
    "update order_item set cancelled_quantity = quantity where order_id = any($1::uuid[]) and cancelled_quantity = 0",
    [ids],
  );
  await client.query(
    `insert into order_event (
       order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at
     )
     select id, version, 'CANCELLED', '', 'UNPAID', 'UNFULFILLED', 'CANCELLED', '{}', updated_at
     from orders where id = any($1::uuid[])
     on conflict do nothing`,
    [ids],
  );
}

/** Changes the table of orders in one rewrite, in which the new columns get their values. Orders wait meanwhile. */
async function changeOrders(session: OnlineSession): Promise<void> {
  const { client } = session;
  const locks = {
    lockedFirst: "idempotency",
    tables: ["purchase", "orders", "order_item"],
    mode: "access exclusive",
  } as const;
  await withTableLocks(session, locks, async () => {
    const { rows } = await client.query<{ id: string }>(`
      select id from orders
      where state = 'CANCELLED' and not exists (select from order_event where order_id = orders.id)`);
    await migrateCancelled(
      session,
      rows.map(({ id }) => id),
    );
    // The previous version stores results of cancellations without the new fields. Repeats find a cancelled order, which
    // stays as it is.
    await client.query("delete from idempotency where method = 'CancelOrder'");
    // The previous version does not count held purchases: it can record none without this default.
    await client.query("alter table purchase alter column counts drop default");
    await client.query("drop index orders_state_created");
    await client.query("alter table orders rename column state to closing");
    await client.query(`
      alter table orders
        drop constraint orders_state_known,
        drop constraint orders_total_not_negative,
        alter column closing type text using case closing when 'CANCELLED' then 'CANCELLED' else 'NONE' end,
        alter column closing set default 'NONE',
        add payment_state text not null default 'UNPAID',
        add fulfillment_state text not null default 'UNFULFILLED',
        add sales_recorded boolean not null generated always as (promotion_id is not null) stored,
        add discount_minor bigint not null default 0,
        add shipping_minor bigint not null default 0,
        add tax_minor bigint not null default 0,
        add is_tax_included boolean not null default false,
        add paid_minor bigint not null default 0,
        add email text null,
        add note text null,
        add shipping_address jsonb null,
        add billing_address jsonb null,
        add shipping_option jsonb null,
        add expires_at timestamptz(3) null,
        add reservation_seconds int null,
        add placed_by text null,
        add state text not null generated always as (case
          when closing in ('CANCELLED', 'EXPIRED') then closing
          when payment_state in ('UNPAID', 'FAILED')
            then case when fulfillment_state = 'UNFULFILLED' then 'PENDING' else 'CONFIRMED' end
          when fulfillment_state = 'DELIVERED' and payment_state <> 'AUTHORIZED' then 'COMPLETED'
          else 'CONFIRMED'
        end) stored,
        add constraint orders_payment_state_known check (
          payment_state in ('UNPAID', 'AUTHORIZED', 'PAID', 'PARTIALLY_REFUNDED', 'REFUNDED', 'FAILED')),
        add constraint orders_fulfillment_state_known check (
          fulfillment_state in ('UNFULFILLED', 'PARTIALLY_FULFILLED', 'FULFILLED', 'DELIVERED')),
        add constraint orders_closing_known check (closing in ('NONE', 'EXPIRING', 'EXPIRED', 'CANCELLED')),
        add constraint orders_closed_unfulfilled check (closing = 'NONE' or fulfillment_state = 'UNFULFILLED'),
        add constraint orders_totals_not_negative check (
          total_minor >= 0 and discount_minor <= 0 and shipping_minor >= 0 and tax_minor >= 0 and paid_minor >= 0)`);
    await client.query(`
      alter table orders
        alter column sales_recorded drop expression, alter column sales_recorded set default false`);
    await client.query("create index orders_state_created on orders (state, created_at, id)");
    await client.query(`
      create index orders_expiring on orders (expires_at, id)
      where expires_at is not null and closing = 'NONE' and payment_state in ('UNPAID', 'FAILED')`);
  });
}
