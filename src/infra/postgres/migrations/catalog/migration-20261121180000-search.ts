import { Migration } from "@mikro-orm/migrations";

/**
 * Adds search indexes of a sample and of the best-selling products, makes the trigger that adds search words faster, and
 * makes request_ids belong to a service account instead of to one of its keys.
 */
export class Migration20261121180000 extends Migration {
  override up(): void {
    this.addSql(`
      update idempotency set owner = 'service-account:' || service_account from api_key
      where owner = 'service:' || id and not exists (
        select from idempotency as other
        where other.method = idempotency.method and other.request_id = idempotency.request_id and other <> idempotency
          and (other.owner = 'service-account:' || service_account or other.owner like 'service:%')
      )`);
    this.addSql(`
      create index product_search_sample on product using gin (search)
      with (gin_pending_list_limit = 256) where (uuid_hash(id) & 127) = 0`);
    for (const above of [0, 23, 46]) {
      this.addSql(`
        create index product_search_sold_${above} on product using gin (search)
        with (gin_pending_list_limit = 256) where popularity > ${above}`);
    }
    // Each distinct lexeme is converted to a word once, and the positions of lexemes are not read.
    this.addSql(`
      create or replace function search_words_added() returns trigger language plpgsql as $$
      begin
        insert into search_word (word)
        select word from (
          select distinct search_word(lexeme) as word
          from (select distinct unnest(tsvector_to_array(search)) as lexeme from fresh) as found
          where left(lexeme, 1) <> '#'
        ) as candidate
        where not exists (select from search_word where search_word.word = candidate.word)
        order by word on conflict do nothing;
        return null;
      end $$`);
  }
}
