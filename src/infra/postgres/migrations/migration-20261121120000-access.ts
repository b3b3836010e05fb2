import { Migration } from "@mikro-orm/migrations";

/** Adds accounts, sessions, keys, the audit log, reviews, and the sum from which a product's average rating is computed. */
export class Migration20261121120000 extends Migration {
  override up(): void {
    this.addSql(`
      create table account (
        id uuid not null,
        customer_id uuid not null,
        password_hash text not null,
        role text not null,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("alter table account add constraint account_customer_unique unique (customer_id)");
    this.addSql(`
      create table api_key (
        id uuid not null,
        service_account text not null,
        scopes text[] not null,
        secret_hash bytea not null,
        secret_prefix text not null,
        created_at timestamptz(3) not null,
        expires_at timestamptz(3) null,
        revoked_at timestamptz(3) null,
        primary key (id)
      )`);
    this.addSql("alter table api_key add constraint api_key_secret_unique unique (secret_hash)");
    this.addSql(`
      create table audit_entry (
        id uuid not null,
        actor text not null,
        role text not null,
        method text not null,
        request text not null,
        client_address text not null,
        created_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("create index audit_entry_actor on audit_entry (actor, id)");
    this.addSql("create index audit_entry_method on audit_entry (method, id)");
    this.addSql(`
      create table review (
        id uuid not null,
        product_id uuid not null,
        customer_id uuid not null,
        author_name text not null,
        rating smallint not null,
        title text not null,
        body text not null,
        created_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("create index review_product on review (product_id, id)");
    this.addSql("alter table review add constraint review_customer_unique unique (customer_id, product_id)");
    this.addSql(`
      create table session (
        id uuid not null,
        account_id uuid not null,
        refresh_hash bytea null,
        generation int not null,
        client_address text not null,
        user_agent text not null,
        created_at timestamptz(3) not null,
        refreshed_at timestamptz(3) not null,
        expires_at timestamptz(3) not null,
        ended_at timestamptz(3) null,
        primary key (id)
      )`);
    this.addSql("create index session_account on session (account_id, id)");
    this.addSql("create index session_expires on session (expires_at)");
    this.addSql(`
      create table sign_in_failure (
        subject bytea not null,
        failures int not null,
        blocked_until timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (subject)
      )`);
    this.addSql("create index sign_in_failure_updated on sign_in_failure (updated_at)");
    this.addSql(`
      create table signing_key (
        id text not null,
        public_key jsonb not null,
        created_at timestamptz(3) not null,
        expires_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql("alter table product add rating_sum bigint not null default 0");
    this.addSql(
      "alter table account add constraint account_role_known check (role in ('CUSTOMER', 'STAFF', 'ADMIN'))",
    );
    this.addSql("alter table review add constraint review_rating_in_range check (rating between 1 and 5)");
    this.addSql(
      "alter table session add constraint session_ended_without_token check ((ended_at is null) = (refresh_hash is not null))",
    );
    for (const [table, column, target] of [
      ["account", "customer_id", "customer"],
      ["session", "account_id", "account"],
      ["review", "product_id", "product"],
      ["review", "customer_id", "customer"],
    ]) {
      this.addSql(
        `alter table ${table} add constraint ${table}_${column}_fk foreign key (${column}) references ${target} (id)`,
      );
    }
  }
}
