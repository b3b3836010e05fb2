import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";

/** Rows that are folded at a time: a second's work at most. */
const BATCH = 20_000;

// Only one fold is at work at a time, by this advisory lock ("fold" in ASCII), and nobody else writes
// product_count: so there is nobody to wait for in a circle. Whoever comes meanwhile leaves it to the other.
const LOCK_KEY = 0x666f6c64;

const KEY = "category_id, brand, currency, band";
const SUMS = ["product_count", "in_stock_count", "price_sum"];
const list = (each: (column: string) => string) => SUMS.map(each).join(", ");

// A transaction's rows may be torn apart by the batch, so only a row whose sums are all zero has nothing left
// to say.
const FOLD = `
  with turn as materialized (select pg_try_advisory_xact_lock(${LOCK_KEY}) as mine),
  taken as (
    delete from product_count_delta using turn
    where mine and id in (select id from product_count_delta order by id limit ${BATCH})
    returning ${KEY}, ${SUMS.join(", ")}
  ),
  added as materialized (
    select ${KEY}, ${list((column) => `sum(${column}) as ${column}`)} from taken group by ${KEY}
    having (${list((column) => `sum(${column})`)}) <> (0, 0, 0)
  ),
  emptied as (
    delete from product_count as old using added
    where (old.category_id, old.brand, old.currency, old.band) = (added.category_id, added.brand, added.currency, added.band)
      and (${list((column) => `old.${column} + added.${column}`)}) = (0, 0, 0)
    returning old.category_id, old.brand, old.currency, old.band
  ),
  kept as (
    insert into product_count as old (${KEY}, ${SUMS.join(", ")})
    select * from added where (${KEY}) not in (select * from emptied) order by ${KEY}
    on conflict (${KEY}) do update set ${list((column) => `${column} = old.${column} + excluded.${column}`)}
  )
  select count(*)::int as folded from taken`;

/**
 * Adds what has changed in the counts of products (product_count_delta) up into product_count. Both together
 * are exact without it; it keeps the changes few, so that counts are read fast. It can run at any time, beside
 * writers and beside another one.
 */
export function rollUpCounts(db: Database, call: Call): Promise<void> {
  return rollUpAll((text) => db.transact(call, (tx) => tx.query(sql.raw<{ folded: number }>(text))));
}

/** The same on any connection. @param run answers a statement with its rows, and commits it */
export async function rollUpAll(run: (text: string) => Promise<{ folded: number }[]>): Promise<void> {
  for (let folded = BATCH; folded === BATCH; ) folded = (await run(FOLD))[0]?.folded ?? 0;
}
