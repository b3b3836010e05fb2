import { Migration } from "@mikro-orm/migrations";

/**
 * Adds payment, shipment, totals, addresses and expiry to orders, their history and their shipments. The state becomes a
 * stored generated column, for which PostgreSQL rewrites the table: orders wait meanwhile. Replicas of the previous version
 * cannot write orders from here on, so that it is the last migration of this version.
 */
export class Migration20261130090000 extends Migration {
  override up(): void {
    this.addSql("lock table orders, order_item in access exclusive mode");
    this.addOrderColumns();
    this.addItemColumns();
    this.addTables();
    this.purgeCancellations();
    // The event of their cancellation, whose actor is not known.
    this.addSql(`
      insert into order_event (
        order_id, sequence, type, actor, payment_state, fulfillment_state, closing, details, created_at
      )
      select id, version, 'CANCELLED', '', payment_state, fulfillment_state, closing, '{}', updated_at
      from orders where closing = 'CANCELLED'`);
  }

  /** Repeats of these requests find a cancelled order, which stays as it is. The stored results lack the new fields. */
  private purgeCancellations(): void {
    this.addSql("delete from idempotency where method = 'CancelOrder'");
  }

  private addOrderColumns(): void {
    this.addSql(`
      alter table orders
        add payment_state text not null default 'UNPAID',
        add fulfillment_state text not null default 'UNFULFILLED',
        add closing text not null default 'NONE',
        add sales_recorded boolean not null default false`);
    this.addSql(`
      update orders set closing = case state when 'CANCELLED' then state else 'NONE' end,
        sales_recorded = promotion_id is not null
      where state = 'CANCELLED' or promotion_id is not null`);
    this.addSql(`
      alter table orders
        drop constraint orders_state_known,
        drop constraint orders_total_not_negative,
        drop column state,
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
    this.addSql("create index orders_state_created on orders (state, created_at, id)");
    this.addSql(`
      create index orders_expiring on orders (expires_at, id)
      where expires_at is not null and closing = 'NONE' and payment_state in ('UNPAID', 'FAILED')`);
  }

  private addItemColumns(): void {
    this.addSql(`
      alter table order_item
        add tax_minor bigint not null default 0,
        add cancelled_quantity bigint not null default 0,
        add fulfilled_quantity bigint not null default 0,
        add returned_quantity bigint not null default 0`);
    this.addSql(`
      update order_item set cancelled_quantity = quantity
      from orders where orders.id = order_id and closing = 'CANCELLED'`);
    this.addSql(`
      alter table order_item add constraint order_item_units_add_up check (
        cancelled_quantity >= 0 and returned_quantity between 0 and fulfilled_quantity
        and cancelled_quantity + fulfilled_quantity <= quantity and tax_minor >= 0)`);
  }

  private addTables(): void {
    this.addSql(`
      create table order_event (
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
    this.addSql(`
      create table order_expiry (
        order_id uuid primary key references orders (id),
        attempts int not null,
        retry_at timestamptz(3) not null
      )`);
    this.addSql("create index order_expiry_retry on order_expiry (retry_at)");
    this.addSql(`
      create table fulfillment (
        id uuid primary key,
        order_id uuid not null references orders (id),
        carrier text not null,
        tracking_number text not null,
        tracking_uri text not null,
        created_at timestamptz(3) not null,
        delivered_at timestamptz(3) null
      )`);
    this.addSql("create index fulfillment_order on fulfillment (order_id, id)");
    this.addSql(`
      create table fulfillment_item (
        fulfillment_id uuid not null references fulfillment (id),
        position smallint not null,
        quantity bigint not null,
        primary key (fulfillment_id, position),
        constraint fulfillment_item_quantity_in_range check (quantity between 1 and 10000)
      )`);
  }
}
