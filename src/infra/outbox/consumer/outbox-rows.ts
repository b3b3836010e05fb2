import { type RawBuilder, sql } from "kysely";

/** All rows of the outbox. Each table is read by its primary key, so the rows need no sort. */
export const OUTBOX_ROWS = sql`(
  select epoch, xid, id, created_at, events from outbox_1
  union all select epoch, xid, id, created_at, events from outbox_2
  union all select epoch, xid, id, created_at, events from outbox_3) as outbox`;

/**
 * Holds for the rows of transactions that had ended when the statement started, as had all earlier ones. A row with a
 * smaller transaction id can still be committed above this horizon, but never below it. It can be waiting for any
 * transaction of the server, also of another database. In an earlier epoch all transactions have ended.
 */
export const IS_BELOW_HORIZON = sql<boolean>`
  (epoch, xid) < ((select state.epoch from outbox_state state), pg_snapshot_xmin(pg_current_snapshot()))`;

/** Returns a condition that holds for the rows that a consumer has not read. */
export function isUnread(consumer: string | RawBuilder<unknown>): RawBuilder<boolean> {
  const column = (name: string) =>
    sql`(select ${sql.ref(`c.${name}`)} from outbox_cursor c where c.consumer = ${consumer})`;
  return sql`(epoch, xid, id) > (${column("epoch")}, ${column("xid")}, ${column("id")})`;
}
