import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";

/** Deltas that are added in one transaction, which takes at most a second. */
const BATCH = 20_000;

/**
 * Key of the advisory lock ("fold" in ASCII). Two concurrent rollups could deadlock, so one that does not get the lock
 * returns.
 */
const LOCK_KEY = 0x666f6c64;

const KEY = "category_id, brand, currency, band";
const SUMS = ["product_count", "in_stock_count", "price_sum"];
const list = (each: (column: string) => string) => SUMS.map(each).join(", ");

// A batch may hold only some deltas of a transaction, so that counts can be negative meanwhile. A row is deleted only
// when all its sums are zero.
const ROLL_UP = `
  with lock as materialized (select pg_try_advisory_xact_lock(${LOCK_KEY}) as acquired),
  delta as (
    delete from product_count_delta using lock
    where acquired and id in (select id from product_count_delta order by id limit ${BATCH})
    returning ${KEY}, ${SUMS.join(", ")}
  ),
  added as materialized (
    select ${KEY}, ${list((column) => `sum(${column}) as ${column}`)} from delta group by ${KEY}
    having (${list((column) => `sum(${column})`)}) <> (0, 0, 0)
  ),
  emptied as (
    delete from product_count as old using added
    where (old.category_id, old.brand, old.currency, old.band) = (added.category_id, added.brand, added.currency, added.band)
      and (${list((column) => `old.${column} + added.${column}`)}) = (0, 0, 0)
    returning old.category_id, old.brand, old.currency, old.band
  ),
  updated as (
    insert into product_count as old (${KEY}, ${SUMS.join(", ")})
    select * from added where (${KEY}) not in (select * from emptied) order by ${KEY}
    on conflict (${KEY}) do update set ${list((column) => `${column} = old.${column} + excluded.${column}`)}
  )
  select count(*)::int as deltas from delta`;

/**
 * Adds the deltas of product counts (product_count_delta) to the totals (product_count). Their sum is exact at any
 * time; the rollup keeps the deltas few, so that counts are read fast. It can run concurrently with writers and other
 * rollups.
 */
export async function rollUpCounts(db: Database, call: Call): Promise<void> {
  for (let deltas = BATCH; deltas === BATCH; ) {
    const [result] = await db.transact(call, (tx) => tx.query(sql.raw<{ deltas: number }>(ROLL_UP)));
    deltas = result?.deltas ?? 0;
  }
}
