import { Migration } from "@mikro-orm/migrations";

const TABLES = [1, 2, 3].map((number) => `outbox_${number}`);

/**
 * Records the position of the last row that was removed from the outbox, so that readers without a cursor in the database
 * notice that they have missed rows. A trigger does it, because replicas of the previous version truncate the tables too.
 */
export class Migration20261130070000 extends Migration {
  override up(): void {
    this.addSql(`alter table outbox_state
      add column truncated_epoch integer not null default 0,
      add column truncated_xid xid8 not null default '0',
      add column truncated_id bigint not null default 0`);
    this.addSql(`create function record_outbox_truncation() returns trigger language plpgsql as $$
      begin
        execute format('
          update outbox_state set truncated_epoch = last.epoch, truncated_xid = last.xid, truncated_id = last.id
          from (select epoch, xid, id from %s order by epoch desc, xid desc, id desc limit 1) as last
          where (last.epoch, last.xid, last.id) > (truncated_epoch, truncated_xid, truncated_id)', tg_relid::regclass);
        return null;
      end $$`);
    for (const table of TABLES) {
      this.addSql(`create trigger ${table}_truncation before truncate on ${table}
        for each statement execute function record_outbox_truncation()`);
    }
  }
}
