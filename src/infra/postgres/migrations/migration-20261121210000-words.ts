import { Migration } from "@mikro-orm/migrations";

/**
 * As before, but each word of a product that is renamed is looked up by itself, as the conflict is. Asked which of
 * them are new, PostgreSQL would read all words that are known: it takes the words of a product to be a thousand.
 */
export class Migration20261121210000 extends Migration {
  override up(): void {
    this.addSql(`
      create or replace function search_words_changed() returns trigger language plpgsql as $$
      begin
        insert into search_word (word)
        select word from search_words(new.search) as heard (word) order by word on conflict do nothing;
        return null;
      end $$`);
  }
}
