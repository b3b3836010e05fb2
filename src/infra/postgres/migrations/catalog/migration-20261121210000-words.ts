import { Migration } from "@mikro-orm/migrations";

/**
 * Replaces the anti-join of the trigger for renamed products by `on conflict`, which looks each word up in the index.
 * PostgreSQL estimates a thousand words for a product, so that the anti-join would read the whole table.
 */
export class Migration20261121210000 extends Migration {
  override up(): void {
    this.addSql(`
      create or replace function search_words_changed() returns trigger language plpgsql as $$
      begin
        insert into search_word (word)
        select word from search_words(new.search) as candidate (word) order by word on conflict do nothing;
        return null;
      end $$`);
  }
}
