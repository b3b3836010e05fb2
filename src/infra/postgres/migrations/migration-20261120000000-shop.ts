import { Migration } from "@mikro-orm/migrations";

/** Creates the first schema. Tables with frequent updates have a fill factor, so that updates stay on their page. */
export class Migration20261120000000 extends Migration {
  override up(): void {
    this.addSql("create extension if not exists pg_trgm");

    this.addSql(`
      create table category (
        id uuid not null,
        slug text not null,
        name text not null,
        parent_id uuid null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("create index category_name on category (name, id)");
    this.addSql("create index category_parent on category (parent_id, name, id)");
    this.addSql("alter table category add constraint category_slug_unique unique (slug)");
    this.addSql("alter table category add constraint category_parent_other check (parent_id <> id)");

    this.addSql(`
      create table customer (
        id uuid not null,
        email text not null,
        name text not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3) null,
        primary key (id)
      )`);
    this.addSql("create index customer_email on customer (lower(email), id)");
    this.addSql(
      "create unique index customer_email_unique on customer (lower(email)) where deleted_at is null",
    );
    this.addSql("alter table customer add constraint customer_email_not_empty check (email <> '')");

    this.addSql(`
      create table idempotency (
        method text not null,
        owner text not null,
        request_id uuid not null,
        fingerprint bytea not null,
        response bytea null,
        created_at timestamptz(3) not null default now(),
        primary key (method, owner, request_id)
      )`);
    this.addSql("create index idempotency_created on idempotency (created_at)");

    this.addSql(`
      create table orders (
        id uuid not null,
        customer_id uuid null,
        state text not null,
        currency char(3) not null,
        total_minor bigint not null,
        promotion_id uuid null,
        request_id uuid not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (id)
      ) with (fillfactor = 85)`);
    this.addSql("create index orders_customer_created on orders (customer_id, created_at, id)");
    this.addSql("create index orders_state_created on orders (state, created_at, id)");
    this.addSql("create index orders_created on orders (created_at, id)");
    this.addSql(
      "create unique index orders_request_unique on orders (customer_id, request_id) nulls not distinct",
    );
    this.addSql(
      "alter table orders add constraint orders_state_known check (state in ('PENDING', 'CANCELLED'))",
    );
    this.addSql("alter table orders add constraint orders_total_not_negative check (total_minor >= 0)");

    this.addSql(`
      create table order_item (
        order_id uuid not null,
        position smallint not null,
        product_id uuid not null,
        sku text not null,
        name text not null,
        unit_minor bigint not null,
        quantity bigint not null,
        primary key (order_id, position)
      )`);
    this.addSql("create index order_item_product on order_item (product_id)");
    this.addSql(
      "alter table order_item add constraint order_item_product_unique unique (order_id, product_id)",
    );
    this.addSql(
      "alter table order_item add constraint order_item_quantity_in_range check (quantity between 1 and 10000)",
    );
    this.addSql(
      "alter table order_item add constraint order_item_price_not_negative check (unit_minor >= 0)",
    );

    this.addSql(`
      create table product (
        id uuid not null,
        sku text not null,
        name text not null,
        description text not null,
        category_id uuid not null,
        brand text not null,
        currency char(3) not null,
        price_minor bigint not null,
        stock_quantity bigint not null,
        rating_average double precision not null default 0,
        rating_count bigint not null default 0,
        purchase_count bigint not null default 0,
        image_uri text not null,
        attributes jsonb not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3) null,
        active boolean generated always as (deleted_at is null) stored not null,
        search tsvector generated always as (setweight(to_tsvector('simple', regexp_replace(name, '[!-/:-@[-_{-~]+', ' ', 'g')), 'A')
            || setweight(to_tsvector('simple', regexp_replace(sku, '[!-/:-@[-_{-~]+', ' ', 'g')), 'A')
            || setweight(to_tsvector('simple', regexp_replace(brand, '[!-/:-@[-_{-~]+', ' ', 'g')), 'B')
            || setweight(to_tsvector('simple', regexp_replace(description, '[!-/:-@[-_{-~]+', ' ', 'g')), 'D')) stored not null,
        primary key (id)
      ) with (fillfactor = 85)`);
    this.addSql("create index product_category_active_id on product (category_id, active, id)");
    this.addSql("create index product_active_name on product (active, name, id)");
    this.addSql("create index product_brand_price on product (brand, price_minor, id) include (active)");
    this.addSql("create index product_category_price on product (category_id, price_minor, id)");
    this.addSql("create index product_price on product (price_minor, id)");
    this.addSql("create index product_created on product (created_at, id)");
    this.addSql("create index product_search on product using gin (search)");
    this.addSql("create index product_name_trigram on product using gin (name gin_trgm_ops)");
    this.addSql("alter table product add constraint product_sku_unique unique (sku)");
    this.addSql("alter table product add constraint product_stock_not_negative check (stock_quantity >= 0)");
    this.addSql("alter table product add constraint product_price_not_negative check (price_minor >= 0)");
    this.addSql(
      "alter table product add constraint product_purchases_not_negative check (purchase_count >= 0)",
    );
    this.addSql(
      "alter table product add constraint product_rating_in_range check (rating_average between 0 and 5 and rating_count >= 0)",
    );
    this.addSql("alter table product add constraint product_sku_not_empty check (sku <> '')");

    this.addSql(`
      create table promotion (
        id uuid not null,
        name text not null,
        start_at timestamptz(3) not null,
        end_at timestamptz(3) null,
        purchase_limit bigint not null,
        purchase_limit_per_user bigint not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("alter table promotion add constraint promotion_end_after_start check (end_at >= start_at)");
    this.addSql(
      "alter table promotion add constraint promotion_limits_not_negative check (purchase_limit >= 0 and purchase_limit_per_user >= 0)",
    );

    this.addSql(`
      create table purchase (
        event_id uuid not null,
        user_id text not null,
        promotion_id uuid not null,
        product_id uuid not null,
        order_id uuid null,
        kind text not null,
        currency char(3) not null,
        amount_minor bigint not null,
        client_address text not null,
        purchased_at timestamptz(3) not null,
        created_at timestamptz(3) not null,
        primary key (event_id)
      )`);
    this.addSql("create index purchase_time on purchase (purchased_at, event_id)");
    this.addSql("create index purchase_promotion_time on purchase (promotion_id, purchased_at, event_id)");
    this.addSql("create index purchase_product_time on purchase (product_id, purchased_at, event_id)");
    this.addSql("create index purchase_user_time on purchase (user_id, purchased_at, event_id)");
    this.addSql("create index purchase_order on purchase (order_id) where order_id is not null");
    this.addSql(
      "alter table purchase add constraint purchase_kind_known check (kind in ('SALE', 'REVERSAL'))",
    );
    this.addSql("alter table purchase add constraint purchase_amount_not_negative check (amount_minor >= 0)");
    this.addSql(
      "alter table purchase add constraint purchase_reversal_of_order check (kind = 'SALE' or order_id is not null)",
    );

    this.addSql(`
      create table purchase_total (
        promotion_id uuid not null,
        product_id uuid not null,
        currency char(3) not null,
        shard smallint not null,
        sale_count bigint not null,
        sale_minor bigint not null,
        reversal_count bigint not null,
        reversal_minor bigint not null,
        primary key (promotion_id, product_id, currency, shard)
      ) with (fillfactor = 85)`);
    this.addSql("create index purchase_total_product on purchase_total (product_id)");
    this.addSql(
      "alter table purchase_total add constraint purchase_total_not_negative check (sale_count >= 0 and sale_minor >= 0 and reversal_count >= 0 and reversal_minor >= 0)",
    );

    this.addSql(`
      create table secret (
        name text not null,
        value bytea not null,
        primary key (name)
      )`);

    this.addSql(`
      create table stock_movement (
        id bigserial primary key,
        product_id uuid not null,
        delta bigint not null,
        reason text not null,
        order_id uuid null,
        effective_at timestamptz(3) not null,
        created_at timestamptz(3) not null
      )`);
    this.addSql("create index stock_movement_product on stock_movement (product_id, reason, effective_at)");
    this.addSql(
      "create unique index stock_movement_order_unique on stock_movement (order_id, product_id, reason) where order_id is not null",
    );
    this.addSql("alter table stock_movement add constraint stock_movement_delta_not_zero check (delta <> 0)");
    this.addSql(
      "alter table stock_movement add constraint stock_movement_reason_known check (reason in ('INITIAL', 'ORDER', 'CANCEL', 'RECOUNT', 'RECEIVED', 'DAMAGED', 'RETURNED', 'CORRECTION'))",
    );
    this.addSql(
      "alter table stock_movement add constraint stock_movement_order_known check ((reason in ('ORDER', 'CANCEL')) = (order_id is not null))",
    );

    // The entities of a feature do not refer to those of others, so the foreign keys are written here.
    for (const [table, column, target] of [
      ["category", "parent_id", "category"],
      ["product", "category_id", "category"],
      ["stock_movement", "product_id", "product"],
      ["stock_movement", "order_id", "orders"],
      ["orders", "customer_id", "customer"],
      ["orders", "promotion_id", "promotion"],
      ["order_item", "order_id", "orders"],
      ["order_item", "product_id", "product"],
      ["purchase", "promotion_id", "promotion"],
      ["purchase", "product_id", "product"],
      ["purchase", "order_id", "orders"],
      ["purchase_total", "promotion_id", "promotion"],
      ["purchase_total", "product_id", "product"],
    ]) {
      this.addSql(
        `alter table ${table} add constraint ${table}_${column}_fk foreign key (${column}) references ${target} (id)`,
      );
    }
  }

  override down(): void {
    for (const table of [
      "stock_movement",
      "secret",
      "purchase_total",
      "purchase",
      "promotion",
      "product",
      "order_item",
      "orders",
      "idempotency",
      "customer",
      "category",
    ]) {
      this.addSql(`drop table if exists ${table} cascade`);
    }
  }
}
