import { sql } from "kysely";
import type { Tx } from "../infra/postgres.ts";
import type { ImportItem } from "./import-row.ts";
import { wordsOf } from "./product-search.ts";

/**
 * Learns the words of rows, in a transaction of its own before that which writes the rows. The triggers would learn
 * them too, but then each batch would hold the words that are new, in the order in which it meets them, until all of
 * its rows are written, and two that hold words of each other would wait in a circle.
 */
export async function learnWords(tx: Tx, items: readonly ImportItem[]): Promise<void> {
  const said = new Set<string>();
  for (const item of items) {
    if ("fault" in item) continue;
    const { name, brand, description } = item.goods;
    for (const text of [item.sku, name, brand, description]) {
      for (const word of wordsOf(text)) said.add(upToDigit(word));
    }
  }
  await tx.query(sql`
    insert into search_word (word)
    select word from (
      select distinct search_word(lexeme) as word
      from unnest(${[...said]}::text[]) as said, unnest(tsvector_to_array(to_tsvector('simple', said))) as lexeme
    ) as heard
    where not exists (select from search_word where search_word.word = heard.word)
    order by word on conflict do nothing`);
}

/** Nothing behind the first digit is kept of a word: numbers would be too many. */
function upToDigit(word: string): string {
  const digit = word.search(/[0-9]/);
  return digit === -1 ? word : word.slice(0, digit + 1);
}
