import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { EVENTS_OF_ORDER, type OrderEventRow } from "../event-list.ts";
import { type OrderRow, orderFromRow, SELECT_ORDER } from "../order-row.ts";
import type { Order } from "../order-types.ts";

/** Most events of an order that one statement reads, oldest first. */
const MAX_EVENTS = 100;

/** An order and its events after a sequence, read from one snapshot. */
export interface OrderSnapshot {
  order: Order;
  /** Sequence of the order's last event. */
  version: number;
  /** Oldest first. */
  events: readonly OrderEventRow[];
  /** Whether there are more events, after these. */
  hasMore: boolean;
}

interface Row extends OrderRow {
  events: OrderEventRow[];
}

/** Selects the orders of `watched`, a table with the columns `watched_id` and `after`. */
function selectSnapshots(watched: RawBuilder<unknown>): RawBuilder<Row> {
  return sql<Row>`
    select orders.*, (
      select coalesce(json_agg(event order by sequence), '[]') from (
        select * from ${EVENTS_OF_ORDER} as event where sequence > after order by sequence limit ${sql.lit(MAX_EVENTS)}
      ) as event
    ) as events
    from ${watched} cross join lateral (${SELECT_ORDER} where id = watched_id) as orders`;
}

const FIND = prepare<[id: string, after: number, owner: string | null], Row>(
  (id, after, owner) => sql`
    ${selectSnapshots(sql`(select ${id}::uuid as watched_id, ${after}::int as after) as watched`)}
    where ${owner}::uuid is null or customer_id = ${owner}`,
);
const FIND_ALL = prepare<[ids: readonly string[], after: readonly number[]], Row>((ids, after) =>
  selectSnapshots(sql`unnest(${ids}::uuid[], ${after}::int[]) as watched (watched_id, after)`),
);

/**
 * Reads an order that a caller watches.
 * @param owner the customer who must own it; null for the orders of all customers
 * @returns undefined if there is no such order
 */
export async function readWatched(
  db: Pick<Database, "read">,
  call: Call,
  { id, after, owner }: { id: string; after: number; owner: string | null },
): Promise<OrderSnapshot | undefined> {
  const [row] = await db.read(call, FIND(id, after, owner));
  return row && snapshotOf(row);
}

/** Reads orders, and their events after a sequence each, by one statement. Returns them by id; missing ones are left out. */
export async function readAllWatched(
  db: Pick<Database, "read">,
  call: Call,
  watched: readonly { id: string; after: number }[],
): Promise<ReadonlyMap<string, OrderSnapshot>> {
  const ids = watched.map(({ id }) => id);
  const rows = await db.read(
    call,
    FIND_ALL(
      ids,
      watched.map(({ after }) => after),
    ),
  );
  return new Map(rows.map((row) => [row.id, snapshotOf(row)]));
}

function snapshotOf(row: Row): OrderSnapshot {
  const last = row.events.at(-1);
  const hasMore = row.events.length === MAX_EVENTS && last !== undefined && last.sequence < row.version;
  return { order: orderFromRow(row), version: row.version, events: row.events, hasMore };
}
