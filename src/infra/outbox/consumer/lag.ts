import { sql } from "kysely";
import type { Call } from "../../../kernel/call.ts";
import type { Database } from "../../postgres/postgres.ts";
import type { OutboxLimits } from "./consumer.ts";
import { IS_BELOW_HORIZON, OUTBOX_ROWS } from "./outbox-rows.ts";

/** Rows below the horizon that a consumer has not read. */
export interface ConsumerLag {
  /** Estimate by their ids: transactions that were rolled back count too. */
  readonly rows: number;
  /** Age of the first one, in milliseconds. */
  readonly ageMs: number;
}

/** The state of the outbox at one time. */
export interface OutboxLag {
  /** Id of the oldest running transaction, decimal. No consumer reads its events or later ones yet. */
  readonly horizon: string;
  /** Whether there are events that no consumer may read yet. */
  readonly isWaiting: boolean;
  /** By name, of all consumers that have a cursor. */
  readonly consumers: ReadonlyMap<string, ConsumerLag>;
}

interface Row {
  horizon: string;
  is_waiting: boolean;
  consumer: string;
  rows: string;
  age_ms: number;
}

/** Measures how far consumers are behind. It reads a few rows, however many there are. */
export async function measureLag(db: Database, call: Call): Promise<OutboxLag> {
  const ascending = sql`order by epoch, xid, id limit 1`;
  const descending = sql`order by epoch desc, xid desc, id desc limit 1`;
  const rows = await db.read(
    call,
    sql<Row>`
      select pg_snapshot_xmin(pg_current_snapshot())::text as horizon,
        exists (select from ${OUTBOX_ROWS} where not ${IS_BELOW_HORIZON}) as is_waiting,
        consumer, -- Ids are not quite in the order of rows.
        case when first.id is null then 0 else greatest(last.id - first.id + 1, 1) end as rows,
        greatest(extract(epoch from clock_timestamp() - first.created_at), 0)::float8 * 1000 as age_ms
      from outbox_cursor c
        left join (select id from ${OUTBOX_ROWS} where ${IS_BELOW_HORIZON} ${descending}) as last on true
        left join lateral (
          select id, created_at from ${OUTBOX_ROWS}
          where (epoch, xid, id) > (c.epoch, c.xid, c.id) and ${IS_BELOW_HORIZON} ${ascending}
        ) as first on true`,
  );
  const consumers = rows.map(({ consumer, rows: count, age_ms: ageMs }): [string, ConsumerLag] => [
    consumer,
    { rows: Number(count), ageMs },
  ]);
  const [any] = rows;
  return {
    horizon: any?.horizon ?? "0",
    isWaiting: any?.is_waiting ?? false,
    consumers: new Map(consumers),
  };
}

/** Returns whether a consumer is beyond its limits. */
export function isTooFarBehind({ rows, ageMs }: ConsumerLag, limits: OutboxLimits): boolean {
  return rows > limits.rows || ageMs > limits.ageMs;
}

/** A transaction that keeps consumers from reading later events. */
export interface BlockingTransaction {
  /** Of its server process; null for a prepared transaction. */
  pid: number | null;
  /** The application's name for its connection, or the name of the prepared transaction. */
  name: string;
  database: string | null;
  user: string | null;
  /** Null without the right to read it. */
  state: string | null;
  started_at: string | null;
}

/** Returns the oldest running transaction of the server that has an id; undefined if there is none. */
export async function findBlockingTransaction(
  db: Database,
  call: Call,
): Promise<BlockingTransaction | undefined> {
  const [oldest] = await db.read(
    call,
    sql<BlockingTransaction>`
      select pid, name, database, "user", state, started_at from (
        select backend_xid as xid, pid, application_name as name, datname as database, usename as "user", state,
          xact_start as started_at
        from pg_stat_activity where backend_xid is not null
        union all
        select transaction, null, gid, database, owner, 'prepared', prepared from pg_prepared_xacts
      ) as transaction order by age(xid) desc limit 1`,
  );
  return oldest;
}
