import { Migration } from "@mikro-orm/migrations";

const TABLES = [1, 2, 3].map((number) => `outbox_${number}`);

/**
 * Adds the transactional outbox: three tables of events that are written in turn, the cursors of their consumers, and
 * the functions that write events. Rows are ordered by epoch, transaction id and id.
 */
export class Migration20261129010000 extends Migration {
  override up(): void {
    this.addSql("create sequence outbox_event_id");
    for (const table of TABLES) {
      // Rows are never updated or deleted, and the table is truncated before they need to be frozen.
      this.addSql(`create table ${table} (
        epoch integer not null,
        xid xid8 not null default pg_current_xact_id(),
        id bigint not null default nextval('outbox_event_id'),
        created_at timestamptz not null default clock_timestamp(),
        events jsonb not null,
        constraint ${table}_pkey primary key (epoch, xid, id)
      ) with (autovacuum_vacuum_insert_threshold = -1)`);
    }
    this.addSql(`create table outbox_state (
      is_single boolean primary key default true check (is_single),
      epoch integer not null,
      system_identifier bigint not null,
      active_table smallint not null check (active_table between 1 and ${TABLES.length})
    ) with (fillfactor = 10)`);
    this.addSql(`insert into outbox_state (epoch, system_identifier, active_table)
      select 1, system_identifier, 1 from pg_control_system()`);
    // A small fillfactor reserves space for the versions of a row that is updated with each batch.
    this.addSql(`create table outbox_cursor (
      consumer text primary key,
      epoch integer not null,
      xid xid8 not null,
      id bigint not null,
      advanced_at timestamptz not null default now()
    ) with (fillfactor = 10)`);
    // Consumers that add up events start with the first one, even if it is published before they first run.
    this.addSql(`insert into outbox_cursor (consumer, epoch, xid, id) values
      ('cache-invalidation', 1, '0', 0), ('product-sales', 1, '0', 0)`);
    this.addSql(createAppendFunction());
    this.addSql(createEpochFunction());
  }
}

/** Writes to the active table only: a lock on the others would keep them from being truncated. */
function createAppendFunction(): string {
  const branches = TABLES.map(
    (table, index) => `when ${index + 1} then
      insert into ${table} (epoch, events) values (current_epoch, appended);`,
  );
  return `create function append_outbox(appended jsonb) returns void language plpgsql as $$
    declare
      current_epoch integer;
      active smallint;
    begin
      select epoch, active_table into strict current_epoch, active from outbox_state;
      case active ${branches.join(" ")} end case;
    end $$`;
}

/**
 * A dump that is restored to another server meets smaller transaction ids, so its rows of the outbox belong to an earlier
 * epoch than the following ones. Its system identifier differs from the stored one.
 */
function createEpochFunction(): string {
  return `create function advance_outbox_epoch() returns boolean language plpgsql as $$
    begin
      update outbox_state set epoch = epoch + 1, system_identifier = server.system_identifier
      from pg_control_system() as server where outbox_state.system_identifier <> server.system_identifier;
      return found;
    end $$`;
}
