import { sql } from "kysely";
import type { Database } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import { splitWords } from "../../search/query-terms.ts";
import type { ImportRow } from "../row.ts";

/**
 * Maximum number of cached words that are indexed already. A full cache is cleared, and its words are indexed again.
 */
const MAX_CACHED_WORDS = 100_000;

/**
 * Returns a function that adds the words of rows to the search vocabulary, in a transaction of its own before the
 * rows are written. The triggers of the product table would add them too, but each batch would then lock new words in
 * the order of its rows until all of them are written, and two batches could deadlock.
 */
export function createWordIndexer(db: Database, call: Call): (rows: readonly ImportRow[]) => Promise<void> {
  const indexed = new Set<string>();
  return async (rows) => {
    const words = [...wordsOf(rows).difference(indexed)];
    if (words.length === 0) return;
    await db.transact(call, (tx) =>
      tx.query(sql`
        insert into search_word (word)
        select word from (
          select distinct search_word(lexeme) as word
          from unnest(${words}::text[]) as text, unnest(tsvector_to_array(to_tsvector('simple', text))) as lexeme
        ) as indexed
        where not exists (select from search_word where search_word.word = indexed.word)
        order by word on conflict do nothing`),
    );
    if (indexed.size > MAX_CACHED_WORDS) indexed.clear();
    for (const word of words) indexed.add(word);
  };
}

function wordsOf(rows: readonly ImportRow[]): Set<string> {
  const words = new Set<string>();
  for (const row of rows) {
    if ("violation" in row) continue;
    const { name, brand, description } = row.fields;
    for (const text of [row.sku, name, brand, description]) {
      for (const word of splitWords(text)) words.add(cutAfterFirstDigit(word));
    }
  }
  return words;
}

/** The vocabulary keeps words up to their first digit only: there would be too many numbers. */
function cutAfterFirstDigit(word: string): string {
  const index = word.search(/[0-9]/);
  return index === -1 ? word : word.slice(0, index + 1);
}
