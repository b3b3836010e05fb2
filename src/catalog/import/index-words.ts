import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { splitWords } from "../search/terms.ts";
import type { ImportRow } from "./row.ts";

/** Words that are remembered as learnt; beyond that all are forgotten, and learnt once more. */
const MAX_LEARNT = 100_000;

/**
 * Learns the words of an import's rows, before they are written and in a transaction of its own. The triggers would
 * learn them too, but then each batch would hold the words that are new, in the order in which it meets them, until all
 * of its rows are written, and two that hold words of each other would wait in a circle.
 * @returns what does it for some rows
 */
export function createWordIndexer(db: Database, call: Call): (items: readonly ImportRow[]) => Promise<void> {
  const learnt = new Set<string>();
  return async (items) => {
    const fresh = wordsIn(items).difference(learnt);
    if (fresh.size === 0) return;
    const words = [...fresh];
    await db.transact(call, (tx) =>
      tx.query(sql`
        insert into search_word (word)
        select word from (
          select distinct search_word(lexeme) as word
          from unnest(${words}::text[]) as said, unnest(tsvector_to_array(to_tsvector('simple', said))) as lexeme
        ) as heard
        where not exists (select from search_word where search_word.word = heard.word)
        order by word on conflict do nothing`),
    );
    if (learnt.size > MAX_LEARNT) learnt.clear();
    for (const word of words) learnt.add(word);
  };
}

function wordsIn(items: readonly ImportRow[]): Set<string> {
  const words = new Set<string>();
  for (const item of items) {
    if ("fault" in item) continue;
    const { name, brand, description } = item.goods;
    for (const text of [item.sku, name, brand, description]) {
      for (const word of splitWords(text)) words.add(upToDigit(word));
    }
  }
  return words;
}

/** Nothing behind the first digit is kept of a word: numbers would be too many. */
function upToDigit(word: string): string {
  const digit = word.search(/[0-9]/);
  return digit === -1 ? word : word.slice(0, digit + 1);
}
