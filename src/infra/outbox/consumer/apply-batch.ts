import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database, Tx } from "../../postgres/postgres.ts";
import type { OutboxConsumer, OutboxEvent, OutboxPosition } from "./consumer.ts";
import { IS_BELOW_HORIZON, isUnread, OUTBOX_ROWS } from "./outbox-rows.ts";

/** Bounds of one batch. */
export interface BatchLimits {
  rows: number;
  /** Size of the stored events, in bytes. The first row is read whatever its size is. */
  bytes: number;
}

export const DEFAULT_BATCH_LIMITS: BatchLimits = { rows: 1_000, bytes: 2 ** 20 };

/** The result of a batch. */
export interface BatchResult {
  /** Events of the consumer's topics. */
  events: number;
  /** Rows that were read. */
  rows: number;
  /** Whether there may be more rows to read. */
  hasMore: boolean;
}

interface Row<Data> extends OutboxPosition {
  events: { topic: string; data: Data }[];
  is_last: boolean;
}

/** First key of the advisory locks of consumers: "obox" in ASCII. The second one is the hash of the name. */
const LOCK_CLASS = 0x6f626f78;

/**
 * Locks a consumer until the transaction ends. Unlike the lock of a row, this one gives the transaction no id, so a
 * consumer that waits for another system does not stall the horizon.
 * @returns false if another transaction holds the lock
 */
export async function lockConsumer(tx: Tx, name: string): Promise<boolean> {
  const [lock] = await tx.query(
    sql<{
      acquired: boolean;
    }>`select pg_try_advisory_xact_lock(${LOCK_CLASS}, hashtext(${name})) as acquired`,
  );
  return lock?.acquired === true;
}

/** The first row that a consumer has not read. */
export interface Unread {
  isBelowHorizon: boolean;
  /** Time since the last batch of the consumer in any process, in milliseconds. */
  sinceBatchMs: number;
}

/** Returns the first row that a consumer has not read; undefined if there is none. */
export async function findUnread(db: Database, call: Call, name: string): Promise<Unread | undefined> {
  const [unread] = await db.read(
    call,
    sql<{ is_below_horizon: boolean; since_batch_ms: number }>`
      select ${IS_BELOW_HORIZON} as is_below_horizon, (
        select extract(epoch from clock_timestamp() - advanced_at)::float8 * 1000
        from outbox_cursor where consumer = ${name}
      ) as since_batch_ms
      from ${OUTBOX_ROWS} where ${isUnread(name)} order by epoch, xid, id limit 1`,
  );
  return unread && { isBelowHorizon: unread.is_below_horizon, sinceBatchMs: unread.since_batch_ms };
}

/**
 * Applies the next events of a consumer and advances its cursor, in one transaction. Of several processes one at a time
 * does this for a consumer; the others return without events.
 */
export async function applyBatch<Data>(
  db: Database,
  call: Call,
  consumer: OutboxConsumer<Data>,
  limits = DEFAULT_BATCH_LIMITS,
): Promise<BatchResult> {
  return db.transact(call, async (tx) => {
    if (!(await lockConsumer(tx, consumer.name))) return { events: 0, rows: 0, hasMore: false };
    // The cursor is read by a statement after the lock: its snapshot has the last commit of the former holder.
    const rows = await tx.query(selectRows(consumer, limits));
    const last = rows.at(-1);
    if (last === undefined) return { events: 0, rows: 0, hasMore: false };
    const events = rows.flatMap(eventsOf);
    if (events.length > 0) await consumer.apply(tx, events);
    await advanceCursor(tx, consumer.name, last);
    return { events: events.length, rows: rows.length, hasMore: !last.is_last };
  });
}

// Not prepared: a plan that was made for an empty table would scan it when it is large.
function selectRows<Data>({ name, topics, minAgeMs = 0 }: OutboxConsumer<Data>, limits: BatchLimits) {
  const names = topics.map((topic) => topic.name);
  const events = sql`(select coalesce(jsonb_agg(event order by n), '[]')
    from jsonb_array_elements(events) with ordinality as e (event, n) where event ->> 'topic' = any(${names}))`;
  return sql<Row<Data>>`
    select epoch, xid::text, id::text, ${events} as events, n = found as is_last from (
      select *, count(*) over () as found from (
        select *, row_number() over w as n,
          sum(pg_column_size(events)) over w - pg_column_size(events) as bytes_before,
          -- Rows are read in order.
          -- Rows of the future were written before the clock was set back.
          bool_and(
            created_at not between clock_timestamp() - ${minAgeMs}::float8 * interval '1 ms' and clock_timestamp()
          ) over w as is_old_enough
        from (
          select * from ${OUTBOX_ROWS} where ${isUnread(name)} and ${IS_BELOW_HORIZON}
          order by epoch, xid, id limit ${limits.rows + 1}
        ) as unread
        window w as (order by epoch, xid, id)
      ) as aged
      where is_old_enough
    ) as candidate
    where n <= ${limits.rows} and bytes_before < ${limits.bytes} order by n`;
}

function eventsOf<Data>({ epoch, xid, id, events }: Row<Data>): OutboxEvent<Data>[] {
  const position = { epoch, xid, id };
  return events.map(({ topic, data }) => ({ topic, data, position }));
}

/** Sets the cursor of a locked consumer. */
export async function advanceCursor(tx: Tx, name: string, { epoch, xid, id }: OutboxPosition): Promise<void> {
  await tx.query(
    sql`update outbox_cursor set epoch = ${epoch}, xid = ${xid}, id = ${id}, advanced_at = clock_timestamp() where consumer = ${name}`,
  );
}
