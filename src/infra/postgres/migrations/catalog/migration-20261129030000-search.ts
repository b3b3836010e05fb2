import { Migration } from "@mikro-orm/migrations";

/**
 * Adds the ranges of prices and names of frequent words, and the triggers that widen them. The worker inserts the words
 * and completes their ranges while the shop is in use, so that this migration reads no products.
 */
export class Migration20261129030000 extends Migration {
  override up(): void {
    this.addSql(`
      create table search_word_range (
        word text not null,
        min_price bigint null,
        max_price bigint null,
        min_name text null,
        max_name text null,
        inserted_by xid8 not null default pg_current_xact_id(),
        completed_at timestamptz(3) null,
        primary key (word)
      )`);
    this.addWidening("search_ranges_added", "fresh");
    this.addWidening(
      "search_ranges_changed",
      `(
        select fresh.* from fresh join stale using (id)
        where fresh.price_minor <> stale.price_minor or fresh.name <> stale.name or fresh.search <> stale.search
      )`,
    );
    this.addSql(`
      create trigger search_ranges_added after insert on product referencing new table as fresh
      for each statement execute function search_ranges_added()`);
    this.addSql(`
      create trigger search_ranges_changed after update on product referencing old table as stale new table as fresh
      for each statement execute function search_ranges_changed()`);
  }

  /**
   * Adds a trigger function that widens the ranges of the words of products. Most products are in all of their ranges, so
   * that is tested first. (`exists` instead of `count` would be planned for its first row, as nested loops.) It locks the
   * ranges in the order of the words.
   */
  private addWidening(name: string, products: string): void {
    const outside = `
      from ${products} as product cross join unnest(tsvector_to_array(product.search)) as lexeme
      join search_word_range as known on known.word = lexeme
      where known.min_price is null
        or product.price_minor < known.min_price or product.price_minor > known.max_price
        or product.name < known.min_name or product.name > known.max_name`;
    this.addSql(`
      create function ${name}() returns trigger language plpgsql as $$
      begin
        if not exists (select from search_word_range) then return null; end if;
        if (select count(*) ${outside}) = 0 then return null; end if;
        with wider as materialized (
          select known.word, min(product.price_minor) as min_price, max(product.price_minor) as max_price,
            min(product.name) as min_name, max(product.name) as max_name
          ${outside} group by known.word
        ), locked as materialized (
          select word from search_word_range where word in (select word from wider) order by word for update
        )
        update search_word_range as known set
          min_price = least(known.min_price, wider.min_price), max_price = greatest(known.max_price, wider.max_price),
          min_name = least(known.min_name, wider.min_name), max_name = greatest(known.max_name, wider.max_name)
        from wider join locked using (word) where known.word = wider.word;
        return null;
      end $$`);
  }
}
