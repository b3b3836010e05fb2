import { type RawBuilder, sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../../postgres/postgres.ts";
import { OUTBOX_ROWS } from "../consumer/outbox-rows.ts";

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

/** What a tail has read: the rows that are visible in a snapshot, and maybe some more. */
export interface TailPosition {
  readonly epoch: number;
  /** A pg_snapshot as text. All rows that are visible in it were read. */
  readonly snapshot: string;
  /** The snapshot whose rows are read next and the last row that was read of them. Absent after a complete read. */
  readonly partial?: { readonly snapshot: string; readonly xid: string; readonly id: string } | undefined;
}

/** Rows that were committed after a position. */
export interface TailBatch {
  /** Events of the topics, in the order of the rows' transaction ids. */
  events: readonly TailEvent[];
  /** Where the next batch begins. */
  position: TailPosition;
  /** Whether unread rows were removed, or the database has lost its last transactions. */
  isIncomplete: boolean;
  /** Whether there are more rows to read. */
  hasMore: boolean;
}

/** Returns the position before all rows that are committed from now on. */
export async function readPosition(db: Pick<Database, "read">, call: Call): Promise<TailPosition> {
  const [position] = await db.read(
    call,
    sql<TailPosition>`select epoch, pg_current_snapshot()::text as snapshot from outbox_state`,
  );
  if (position === undefined) throw new Error("The outbox has no state");
  return position;
}

interface Row {
  epoch: number;
  snapshot: string;
  last: { xid: string; id: string } | null;
  events: TailEvent[];
  is_incomplete: boolean;
  has_more: boolean;
}

/** Reads the next rows after a position, and the events of some topics in them. */
export async function readTail(
  db: Pick<Database, "read">,
  call: Call,
  position: TailPosition,
  topics: readonly string[],
  limits: TailLimits,
): Promise<TailBatch> {
  const [row] = await db.read(call, selectBatch(position, topics, limits));
  if (row === undefined) throw new Error("The outbox has no state");
  const { epoch, snapshot, last, has_more: hasMore } = row;
  return {
    events: row.events,
    position:
      hasMore && last !== null ? { ...position, partial: { snapshot, ...last } } : { epoch, snapshot },
    isIncomplete: row.is_incomplete,
    hasMore,
  };
}

/**
 * A row is read when it is visible in the new snapshot and not in the old one. Its transaction was then running at the
 * time of the old snapshot, or began later: two ranges of the primary key, however long a transaction stays open.
 *
 * Not prepared: a plan that was made for an empty table would scan it when it is large.
 */
function selectBatch(
  { epoch, snapshot, partial }: TailPosition,
  topics: readonly string[],
  limits: TailLimits,
) {
  const old = sql`${snapshot}::pg_snapshot`;
  const current = partial === undefined ? sql`pg_current_snapshot()` : sql`${partial.snapshot}::pg_snapshot`;
  const last = partial ?? { xid: "0", id: "0" };
  const [, xmax = "0"] = snapshot.split(":");
  const lastOfNew = BigInt(last.xid) < BigInt(xmax) ? { xid: xmax, id: "0" } : last;
  const selectRows = (isNew: RawBuilder<unknown>, { xid, id }: typeof last) => sql`
    select * from ${OUTBOX_ROWS}
    where ${isNew} and (epoch, xid, id) > (${epoch}::integer, ${xid}::xid8, ${id}::bigint)
      and pg_visible_in_snapshot(xid, ${current})
    order by epoch, xid, id limit ${limits.rows + 1}`;
  const wasRunning = sql`epoch = ${epoch} and xid = any(array(select pg_snapshot_xip(${old})))`;
  return sql<Row>`
    with unread as (
      select *, row_number() over w as n,
        sum(pg_column_size(events)) over w - pg_column_size(events) as bytes_before
      from (
        (${selectRows(wasRunning, last)}) union all (${selectRows(sql`true`, lastOfNew)})
        order by epoch, xid, id limit ${limits.rows + 1}
      ) as rows
      window w as (order by epoch, xid, id)
    ), batch as (
      select * from unread where n <= ${limits.rows} and bytes_before < ${limits.bytes}
    )
    select epoch, ${current}::text as snapshot, (
        select json_build_object('xid', xid::text, 'id', id::text) from batch order by n desc limit 1
      ) as last, (
        select coalesce(json_agg(event order by n, item), '[]')
        from batch, jsonb_array_elements(batch.events) with ordinality as published (event, item)
        where event ->> 'topic' = any(${topics})
      ) as events,
      epoch <> ${epoch} or (truncated_epoch, truncated_xid) >= (${epoch}::integer, pg_snapshot_xmin(${old}))
        or pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(${old}) as is_incomplete,
      (select count(*) from unread) > (select count(*) from batch) as has_more
    from outbox_state`;
}
