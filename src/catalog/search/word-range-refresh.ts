import { setTimeout as sleep } from "node:timers/promises";
import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { MAX_PREFIX_WORDS } from "./plan.ts";

/**
 * Minimum number of products with a word whose range is kept. The text index finds fewer in 15 ms, and the ranges of
 * rarer words would change with most prices.
 */
const MIN_PRODUCTS = 8_000;
/** Maximum number of words whose ranges are kept. */
const MAX_WORDS = 2_000;
/** Age at which a range is computed again, since ranges only widen meanwhile. */
const MAX_AGE = "7 days";
/** Number of products that one statement reads: 0.6 s. */
const CHUNK = 50_000;
/** Time limit for the transactions that were running when the words were inserted, in milliseconds. */
const MAX_WAIT_MS = 10_000;
const POLL_MS = 100;

interface PendingWord {
  word: string;
  inserted_by: string;
}

/**
 * Inserts the frequent words that have no range, and computes the ranges that are not complete or too old, in one pass
 * over all products: 12 s for a million.
 *
 * Triggers widen the range of a word for each product that a transaction writes after the word was committed. Products
 * of transactions that were running by then are read here: ranges are computed only when all of these have ended. All
 * transactions are READ COMMITTED, so that each statement sees the words that were committed before it.
 * @returns the number of ranges that were completed
 */
export async function refreshWordRanges(db: Database, call: Call): Promise<number> {
  await insertWords(db, call);
  const pending = await db.read(
    call,
    sql<PendingWord>`select word, inserted_by::text from search_word_range where completed_at is null`,
  );
  if (pending.length === 0 || !(await waitForWriters(db, call))) return 0;
  for (let first: string | undefined, isLast = false; !isLast; ) {
    const next = await findNextChunk(db, call, first);
    await widenRanges(db, call, pending, [
      first === undefined ? undefined : sql`id >= ${first}`,
      next === undefined ? undefined : sql`id < ${next}`,
    ]);
    [first, isLast] = [next, next === undefined];
  }
  await completeRanges(db, call, pending);
  return pending.length;
}

/**
 * Inserts the words that ANALYZE has found in many products, each with the words that begin with it, since a search finds
 * those too. Words that a search does not look up in the ranges are omitted: beginnings of too many words, and of words
 * that end with a digit, which are beginnings themselves.
 */
async function insertWords(db: Database, call: Call): Promise<void> {
  await db.transact(call, async (tx) => {
    await tx.query(sql`
      delete from search_word_range where word in (
        select word from search_word_range where completed_at < now() - ${sql.lit(MAX_AGE)}::interval
        order by word for update skip locked
      )`);
    await tx.query(sql`
      insert into search_word_range (word)
      select distinct found_word
      from pg_class join pg_stats on schemaname = relnamespace::regnamespace::name and tablename = relname,
        unnest(most_common_elems::text::text[], most_common_elem_freqs) as frequent (prefix, frequency),
        lateral (select array(
          select word from search_word where word ~>=~ prefix and word ~<~ (prefix || chr(1114111))
          limit ${MAX_PREFIX_WORDS + 1}
        ) as words) as found, unnest(words) as found_word
      where pg_class.oid = 'product'::regclass and attname = 'search' and frequency * reltuples >= ${MIN_PRODUCTS}
        and cardinality(words) <= ${MAX_PREFIX_WORDS} and array_to_string(words, ' ') !~ '[#0-9]'
        and not exists (select from search_word_range as known where known.word = found_word)
      order by found_word limit greatest(0, ${MAX_WORDS} - (select count(*) from search_word_range))
      on conflict do nothing`);
  });
}

/** Waits until all transactions that run now have ended. Returns false if they take too long. */
async function waitForWriters(db: Database, call: Call): Promise<boolean> {
  const [running] = await db.read(
    call,
    sql<{ end: string }>`select pg_snapshot_xmax(pg_current_snapshot())::text as end`,
  );
  for (let waitedMs = 0; waitedMs <= MAX_WAIT_MS; waitedMs += POLL_MS) {
    const [oldest] = await db.read(
      call,
      sql<{ ended: boolean }>`
        select pg_snapshot_xmin(pg_current_snapshot()) >= ${running?.end}::xid8 as ended`,
    );
    if (oldest?.ended === true) return true;
    await sleep(POLL_MS, undefined, { signal: call.signal });
  }
  return false;
}

/** Returns the first id after a chunk of products; undefined for the last chunk. */
async function findNextChunk(db: Database, call: Call, first = "00000000-0000-0000-0000-000000000000") {
  const [next] = await db.read(
    call,
    sql<{ id: string }>`select id from product where id >= ${first} order by id offset ${CHUNK} limit 1`,
  );
  return next?.id;
}

/** Locks ranges in the order of the words, as the triggers do. */
async function widenRanges(
  db: Database,
  call: Call,
  pending: readonly PendingWord[],
  chunk: readonly (RawBuilder<unknown> | undefined)[],
): Promise<void> {
  await db.transact(call, (tx) =>
    tx.query(sql`
      with found as materialized (
        select lexeme as word, min(price_minor) as min_price, max(price_minor) as max_price, min(name) as min_name,
          max(name) as max_name
        from product cross join unnest(tsvector_to_array(search)) as lexeme
        where ${allOf([...chunk, sql`lexeme = any(${pending.map(({ word }) => word)}::text[])`])} group by lexeme
      ), locked as materialized (
        select word from search_word_range where word in (select word from found) order by word for update
      )
      update search_word_range as known set
        min_price = least(known.min_price, found.min_price), max_price = greatest(known.max_price, found.max_price),
        min_name = least(known.min_name, found.min_name), max_name = greatest(known.max_name, found.max_name)
      from found join locked using (word) where known.word = found.word`),
  );
}

/** Leaves a row to another process that has inserted it again meanwhile. */
async function completeRanges(db: Database, call: Call, pending: readonly PendingWord[]): Promise<void> {
  const words = pending.map(({ word }) => word);
  const insertedBy = pending.map(({ inserted_by: id }) => id);
  await db.transact(call, (tx) =>
    tx.query(sql`
      with locked as materialized (
        select word from search_word_range
        where completed_at is null
          and (word, inserted_by) in (select * from unnest(${words}::text[], ${insertedBy}::xid8[]))
        order by word for update
      )
      update search_word_range as known set completed_at = now() from locked where known.word = locked.word`),
  );
}
