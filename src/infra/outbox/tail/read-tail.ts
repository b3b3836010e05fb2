import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../../postgres/postgres.ts";
import type { OutboxPosition } from "../consumer/consumer.ts";
import { IS_BELOW_HORIZON, OUTBOX_ROWS } from "../consumer/outbox-rows.ts";

/** Bounds of one batch. */
export interface TailLimits {
  rows: number;
  /** Size of the stored events, in bytes. The first row is read whatever its size is. */
  bytes: number;
}

/** An event of a topic. */
export interface TailEvent {
  topic: string;
  data: unknown;
}

/** The rows after a position. */
export interface TailBatch {
  /** Events of the topics, in the order of their positions. */
  events: readonly TailEvent[];
  /** Where the next batch begins. */
  position: OutboxPosition;
  /** Whether rows after the former position were removed, or the database has lost its last transactions. */
  isIncomplete: boolean;
  /** Whether there are more rows to read. */
  hasMore: boolean;
  /** Whether there are rows that no reader may read yet, because an older transaction is running. */
  isWaiting: boolean;
}

/** Returns the position before all rows that will become readable from now on. */
export async function readHorizon(db: Pick<Database, "read">, call: Call): Promise<OutboxPosition> {
  const [horizon] = await db.read(
    call,
    sql<{ epoch: number; xid: string }>`
      select epoch, pg_snapshot_xmin(pg_current_snapshot())::text as xid from outbox_state`,
  );
  if (horizon === undefined) throw new Error("The outbox has no state");
  return { ...horizon, id: "0" };
}

interface Row {
  epoch: number;
  horizon: string;
  last: OutboxPosition | null;
  events: TailEvent[];
  is_incomplete: boolean;
  has_more: boolean;
  is_waiting: boolean;
}

/** Reads the next rows after a position, and the events of some topics in them. */
export async function readTail(
  db: Pick<Database, "read">,
  call: Call,
  position: OutboxPosition,
  topics: readonly string[],
  limits: TailLimits,
): Promise<TailBatch> {
  const [row] = await db.read(call, selectBatch(position, topics, limits));
  if (row === undefined) throw new Error("The outbox has no state");
  const { epoch, horizon, last, has_more: hasMore } = row;
  return {
    events: row.events,
    // Without more rows, all below the horizon are read. It is behind all rows that may be removed before the next batch.
    position: hasMore && last !== null ? last : { epoch, xid: horizon, id: "0" },
    isIncomplete: row.is_incomplete,
    hasMore,
    isWaiting: row.is_waiting,
  };
}

// Not prepared: a plan that was made for an empty table would scan it when it is large.
function selectBatch(position: OutboxPosition, topics: readonly string[], limits: TailLimits) {
  const { epoch, xid, id } = position;
  const start = sql`(${epoch}::integer, ${xid}::xid8, ${id}::bigint)`;
  return sql<Row>`
    with unread as (
      select *, row_number() over w as n,
        sum(pg_column_size(events)) over w - pg_column_size(events) as bytes_before
      from (
        select * from ${OUTBOX_ROWS} where (epoch, xid, id) > ${start} and ${IS_BELOW_HORIZON}
        order by epoch, xid, id limit ${limits.rows + 1}
      ) as rows
      window w as (order by epoch, xid, id)
    ), batch as (
      select * from unread where n <= ${limits.rows} and bytes_before < ${limits.bytes}
    )
    select epoch, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, (
        select json_build_object('epoch', epoch, 'xid', xid::text, 'id', id::text) from batch order by n desc limit 1
      ) as last, (
        select coalesce(json_agg(event order by n, item), '[]')
        from batch, jsonb_array_elements(batch.events) with ordinality as published (event, item)
        where event ->> 'topic' = any(${topics})
      ) as events,
      (truncated_epoch, truncated_xid, truncated_id) > ${start}
        or (epoch, pg_snapshot_xmin(pg_current_snapshot())) < (${epoch}::integer, ${xid}::xid8) as is_incomplete,
      (select count(*) from unread) > (select count(*) from batch) as has_more,
      exists (select from ${OUTBOX_ROWS} where not ${IS_BELOW_HORIZON}) as is_waiting
    from outbox_state`;
}
