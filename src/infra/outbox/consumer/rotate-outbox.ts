import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database, Tx } from "../../postgres/postgres.ts";

const TABLE_COUNT = 3;
const DEFAULT_MIN_BYTES = 32 * 2 ** 20;
/** Key of the advisory lock: "orot" in ASCII. */
const LOCK_KEY = 0x6f726f74;
const DEFAULT_LOCK_TIMEOUT_MS = 50;

export interface RotationOptions {
  /** Size from which the active table is replaced, with its index, in bytes. Defaults to 32 MiB. */
  minBytes?: number | undefined;
  /** Others wait behind a lock that is waited for, so it is given up soon. In milliseconds; defaults to 50. */
  lockTimeoutMs?: number;
}

/**
 * Lets transactions write to the next table of the outbox if the active one is large. The next table is emptied before:
 * it was active two rotations ago, so that transactions which write to it are rare.
 * @returns whether it has done so; not while consumers have unread events in the next table
 * @throws AppError aborted when transactions keep the next table locked
 */
export async function rotateOutbox(
  db: Database,
  call: Call,
  { minBytes = DEFAULT_MIN_BYTES, lockTimeoutMs = DEFAULT_LOCK_TIMEOUT_MS }: RotationOptions = {},
): Promise<boolean> {
  const active = await findLargeTable(db, call, minBytes);
  if (active === undefined) return false;
  const next = (active % TABLE_COUNT) + 1;
  return db.transact(call, async (tx) => {
    const [lock] = await tx.query(
      sql<{ acquired: boolean }>`select pg_try_advisory_xact_lock(${LOCK_KEY}) as acquired`,
    );
    if (lock?.acquired !== true) return false;
    await tx.query(sql`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`);
    await tx.query(sql`lock table ${tableOf(next)} in access exclusive mode`);
    // Under the lock: a transaction that had found the table active may have written to it until now.
    if (await hasUnread(tx, next)) return false;
    await tx.query(sql`truncate ${tableOf(next)}`);
    const changed = await tx.query(
      sql`update outbox_state set active_table = ${next} where active_table = ${active} returning 1 as changed`,
    );
    return changed.length === 1;
  });
}

const tableOf = (number: number) => sql.table(`outbox_${number}`);

/** Returns the number of the active table if it is large. */
async function findLargeTable(db: Database, call: Call, minBytes: number): Promise<number | undefined> {
  const [state] = await db.read(
    call,
    sql<{ active_table: number; bytes: string }>`
      select active_table, pg_total_relation_size(('outbox_' || active_table)::regclass) as bytes from outbox_state`,
  );
  return state !== undefined && Number(state.bytes) >= minBytes ? state.active_table : undefined;
}

/** Returns whether a table has rows that a consumer has not read. Without consumers, all rows count as unread. */
async function hasUnread(tx: Tx, number: number): Promise<boolean> {
  const unread = await tx.query(sql`
    select from (select epoch, xid, id from ${tableOf(number)} order by epoch desc, xid desc, id desc limit 1) as last
    where not exists (select from outbox_cursor)
      or exists (select from outbox_cursor c where (c.epoch, c.xid, c.id) < (last.epoch, last.xid, last.id))`);
  return unread.length > 0;
}
