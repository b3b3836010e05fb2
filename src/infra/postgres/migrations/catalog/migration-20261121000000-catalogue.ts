import { Migration } from "@mikro-orm/migrations";

/**
 * Adds brands, counts that triggers maintain, words for the correction of queries, imports, and columns by which
 * products are searched and sorted. It rewrites the product table, which takes some minutes for a million products.
 * Meanwhile products cannot be read.
 */
export class Migration20261121000000 extends Migration {
  override up(): void {
    this.addSql(
      "create table brand (name text not null, created_at timestamptz(3) not null, primary key (name))",
    );
    this.addSql("insert into brand (name, created_at) values ('', now())");
    this.addSql(
      "insert into brand (name, created_at) select distinct brand, now() from product where brand <> ''",
    );

    this.addSql("drop index product_name_trigram");
    this.addSql("drop index product_brand_price");
    this.addSql("drop index product_category_price");
    this.addSql("drop index product_price");
    this.addSql("alter table product drop column search");
    this.addSql(`
      alter table product
        add in_stock boolean generated always as (stock_quantity > 0) stored not null,
        add stock_low smallint generated always as (
          case when deleted_at is null and stock_quantity between 1 and 100 then stock_quantity end
        ) stored null,
        add popularity smallint generated always as (
          floor(10 * ln(1 + purchase_count::double precision))
        ) stored not null,
        add search tsvector generated always as (
          setweight(to_tsvector('simple', ${withoutPunctuation("name")}), 'A') || setweight(to_tsvector('simple', ${withoutPunctuation("sku")}), 'A')
          || setweight(to_tsvector('simple', ${withoutPunctuation("brand")}), 'B') || ('''#' || category_id::text || ''':1C')::tsvector
          || setweight(to_tsvector('simple', ${withoutPunctuation("description")}), 'D')
        ) stored not null`);
    this.addSql(
      "create index product_search on product using gin (search) with (gin_pending_list_limit = 256)",
    );
    this.addSql("create index product_category_name on product (category_id, active, name, id)");
    this.addSql("create index product_category_popularity on product (category_id, popularity, id)");
    this.addSql("create index product_popularity on product (popularity, id)");
    this.addSql("create index product_rating on product (rating_average, id)");
    this.addSql("create index product_stock_low on product (stock_low) where stock_low is not null");
    this.addSql(
      "create index product_brand_price on product (brand, price_minor, id) include (active, currency)",
    );
    this.addSql(
      "create index product_category_price on product (category_id, price_minor, id) include (active, currency)",
    );
    this.addSql("create index product_price on product (price_minor, id) include (active, currency)");
    this.addSql(
      "alter table product add constraint product_brand_fk foreign key (brand) references brand (name)",
    );

    this.addCounts();
    this.addWords();
    this.addImports();
    // Without statistics the first plans would be bad.
    this.addSql("analyze product, product_count, search_word");
  }

  /** Adds counts that triggers maintain by inserting rows of product_count_delta: inserts wait for no lock. */
  private addCounts(): void {
    const columns = "category_id, brand, currency, band, product_count, in_stock_count, price_sum";
    const countColumns = `
      category_id uuid not null, brand text not null, currency char(3) not null, band bigint not null,
      product_count bigint not null, in_stock_count bigint not null, price_sum numeric not null`;
    this.addSql(
      `create table product_count (${countColumns}, primary key (category_id, brand, currency, band))`,
    );
    this.addSql("create index product_count_brand on product_count (brand)");
    this.addSql(`create table product_count_delta (id bigserial primary key, ${countColumns})`);
    this.addSql(`
      create view product_tally as
      select ${columns} from product_count union all select ${columns} from product_count_delta`);
    this.addSql(`
      create function price_band(price bigint) returns bigint language sql immutable parallel safe
      return (array[${bandBounds()}]::bigint[])[width_bucket(price, array[${bandBounds()}]::bigint[])]`);
    const sums = `
      category_id, brand, currency, price_band(price_minor), count(*), count(*) filter (where in_stock), sum(price_minor)`;
    this.addSql(
      `insert into product_count (${columns}) select ${sums} from product where active group by 1, 2, 3, 4`,
    );
    this.addSql(`
      create function product_count_added() returns trigger language plpgsql as $$
      begin
        insert into product_count_delta (${columns}) select ${sums} from fresh where active group by 1, 2, 3, 4;
        return null;
      end $$`);
    const insertDelta = (row: string, sign: string) => `
      if ${row}.active then
        insert into product_count_delta (${columns}) values (
          ${row}.category_id, ${row}.brand, ${row}.currency, price_band(${row}.price_minor),
          ${sign}1, ${sign}(case when ${row}.in_stock then 1 else 0 end), ${sign}${row}.price_minor);
      end if;`;
    this.addSql(`
      create function product_count_changed() returns trigger language plpgsql as $$
      begin
        ${insertDelta("old", "-")}
        if tg_op = 'UPDATE' then
          ${insertDelta("new", "")}
        end if;
        return null;
      end $$`);
    this.addSql(`
      create trigger product_count_added after insert on product referencing new table as fresh
      for each statement execute function product_count_added()`);
    const countedColumns = (row: string) =>
      ["active", "category_id", "brand", "currency", "price_minor", "in_stock"]
        .map((column) => `${row}.${column}`)
        .join(", ");
    // For each row, so that a change of columns that are not counted runs only this comparison.
    this.addSql(`
      create trigger product_count_changed after update on product for each row
      when ((${countedColumns("old")}) is distinct from (${countedColumns("new")})) execute function product_count_changed()`);
    this.addSql(`
      create trigger product_count_removed after delete on product for each row
      execute function product_count_changed()`);
  }

  /**
   * Adds a table with all words of products and categories, which is searched for prefixes and corrections before the
   * products. A word is truncated after its first digit: otherwise there would be one for each sku. Words of deleted
   * products remain.
   */
  private addWords(): void {
    this.addSql("create table search_word (word text not null, primary key (word))");
    this.addSql(`
      create function search_word(lexeme text) returns text language sql immutable parallel safe
      return substring(lexeme from '^[^0-9]*[0-9]?')`);
    this.addSql(`
      create function search_words(search tsvector) returns setof text language sql immutable parallel safe
      begin atomic
        select distinct search_word(lexeme) from unnest(search) where left(lexeme, 1) <> '#';
      end`);
    // Each distinct lexeme is converted once, since products share most of their words.
    const wordsOf = (products: string) => `
      select search_word(lexeme) from (select distinct lexeme from ${products}, unnest(search)) as found
      where left(lexeme, 1) <> '#'`;
    const insertWords = (wordQuery: string) => `
      insert into search_word (word)
      select distinct word from (${wordQuery}) as candidate (word)
      where not exists (select from search_word where search_word.word = candidate.word)
      order by word on conflict do nothing`;
    this.addSql(insertWords(wordsOf("product")));
    this.addSql(
      insertWords(`select search_words(to_tsvector('simple', ${withoutPunctuation("name")})) from category`),
    );
    this.addSql("create index search_word_trigram on search_word using gin (word gin_trgm_ops)");
    this.addSql("create index search_word_prefix on search_word (word text_pattern_ops)");
    this.addSql(
      `create index category_search on category using gin (to_tsvector('simple', ${withoutPunctuation("name")}))`,
    );
    const addTriggerFunction = (name: string, work: string) =>
      this.addSql(`
        create function ${name}() returns trigger language plpgsql as $$
        begin
          ${work};
          return null;
        end $$`);
    addTriggerFunction("search_words_added", insertWords(wordsOf("fresh")));
    addTriggerFunction("search_words_changed", insertWords("select search_words(new.search)"));
    addTriggerFunction(
      "search_words_named",
      insertWords(`select search_words(to_tsvector('simple', ${withoutPunctuation("new.name")}))`),
    );
    this.addSql(`
      create trigger search_words_added after insert on product referencing new table as fresh
      for each statement execute function search_words_added()`);
    this.addSql(`
      create trigger search_words_changed after update on product for each row
      when (old.search <> new.search) execute function search_words_changed()`);
    this.addSql(`
      create trigger search_words_named after insert or update of name on category for each row
      execute function search_words_named()`);
  }

  private addImports(): void {
    this.addSql(`
      create table product_import (
        request_id uuid not null,
        mode text not null,
        row_count bigint not null default 0,
        created_count bigint not null default 0,
        updated_count bigint not null default 0,
        unchanged_count bigint not null default 0,
        deleted_count bigint not null default 0,
        failed_count bigint not null default 0,
        taken int8multirange not null default '{}',
        errors jsonb not null,
        created_at timestamptz(3) not null,
        finished_at timestamptz(3) null,
        primary key (request_id)
      )`);
    this.addSql("create index product_import_created on product_import (created_at)");
    this.addSql(
      "alter table product_import add constraint product_import_mode_known check (mode in ('INCREMENTAL', 'FULL'))",
    );
    this.addSql(`
      create table product_import_sku (request_id uuid not null, sku text not null, primary key (request_id, sku))`);
  }
}

/** Returns SQL for a column with spaces for punctuation, as in the product entity. */
function withoutPunctuation(column: string): string {
  return `regexp_replace(${column}, '[][!"#$%&''()*+,./:;<=>?@\\\\^_\`{|}~-]', ' ', 'g')`;
}

/**
 * Returns the lower bounds of the price bands, in minor units: ten for each power of ten (Renard's R10 series), so that
 * a band has few enough products to compute a median in it; fewer below 100, where there are few prices.
 */
function bandBounds(): string {
  const steps = [100n, 125n, 160n, 200n, 250n, 315n, 400n, 500n, 630n, 800n];
  const powers = Array.from({ length: 14 }, (_, power) => 10n ** BigInt(power));
  return [
    0n,
    1n,
    2n,
    5n,
    10n,
    20n,
    50n,
    ...powers.flatMap((power) => steps.map((step) => step * power)),
  ].join(", ");
}
