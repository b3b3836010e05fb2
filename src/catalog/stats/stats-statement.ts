import { sql } from "kysely";
import { prepare } from "../../infra/postgres/statement.ts";

/** Prices of the products in a currency, in minor units. Numbers are text, since a JSON number may be rounded. */
export interface PricesRow {
  currency: string;
  count: string;
  min: string;
  average: string;
  max: string;
  median: string;
}

/** The row of the statement. */
export interface StatsRow {
  products: string;
  sold_out: string;
  low_stock: string;
  prices: PricesRow[];
  categories: { id: string; name: string; count: string; prices: PricesRow[] }[];
  brands: { name: string; count: string; prices: PricesRow[] }[];
  as_of: string;
}

/**
 * Returns the SQL of the price statistics by `key` and currency. The counts of the price bands locate the bands
 * of the lowest, the median and the highest price, and the offset of the median in its band; the indexes of prices
 * find the prices there. No band is wider than 2.5 times its lower bound (see the migration), so that the search for
 * the highest price reads no higher prices in other currencies.
 * @param bands relation of the counts by key, currency and band
 * @param isOfKey condition that a product is of the key of `part`
 */
function priceStats(key: string, bands: string, isOfKey: string): string {
  const prices = `select price_minor from product where ${isOfKey} and active and currency = part.currency and price_minor`;
  return `
    select ${key}, currency, part.count, round(part.price_sum / part.count) as average,
      (${prices} >= part.min_band order by price_minor limit 1) as min,
      (${prices} >= part.median_band order by price_minor limit 1 offset part.median_offset) as median,
      (${prices} between part.max_band and part.max_band * 5 / 2 order by price_minor desc limit 1) as max
    from (
      select ${key}, currency, sum(products) as count, sum(price_sum) as price_sum,
        min(band) as min_band, max(band) as max_band, min(band) filter (where cumulative > half) as median_band,
        half - coalesce(max(cumulative) filter (where cumulative <= half), 0) as median_offset
      from (
        select *, sum(products) over (partition by ${key}, currency order by band)::bigint as cumulative,
          div(sum(products) over (partition by ${key}, currency) - 1, 2)::bigint as half
        from ${bands} as band
      ) as ranked
      group by ${key}, currency, half
    ) as part`;
}

/** Aggregates price statistics as JSON, the currency of most products first. */
const ENTRIES = `
  coalesce(json_agg(json_build_object(
    'currency', currency, 'count', count::text, 'min', min::text, 'average', average::text, 'max', max::text,
    'median', median::text
  ) order by count desc, currency), '[]')`;

/**
 * Reads the statistics in one statement, and so in one snapshot. Low stock is counted by reading the whole inventory: an
 * index on its columns would be written by each order.
 */
export const findStats = prepare<[lowStockThreshold: bigint], StatsRow>(
  (threshold) => sql`
  with category_count as materialized (
    select category_id, currency, band, sum(product_count) as products, sum(in_stock_count) as in_stock,
      sum(price_sum) as price_sum
    from product_tally group by 1, 2, 3 having sum(product_count) > 0
  ),
  total_band as (
    select 0 as whole, currency, band, sum(products) as products, sum(price_sum) as price_sum from category_count group by 2, 3
  ),
  top_category as materialized (
    select category.id, category.name, sum(products) as count from category_count join category on category.id = category_id
    group by category.id order by count desc, category.name, category.id limit 1000
  ),
  category_band as (select category_count.* from category_count join top_category on id = category_id),
  top_brand as materialized (
    select brand, sum(product_count) as count from product_tally where brand <> ''
    group by brand having sum(product_count) > 0 order by count desc, brand limit 100
  ),
  brand_band as (
    select brand, currency, band, sum(product_count) as products, sum(price_sum) as price_sum
    from product_tally where brand in (select brand from top_brand) group by 1, 2, 3 having sum(product_count) > 0
  ),
  total_price as (${sql.raw(priceStats("whole", "total_band", "true"))}),
  category_price as (
    select category_id, ${sql.raw(ENTRIES)} as prices
    from (${sql.raw(priceStats("category_id", "category_band", "category_id = part.category_id"))}) as price group by category_id
  ),
  brand_price as (
    select brand, ${sql.raw(ENTRIES)} as prices
    from (${sql.raw(priceStats("brand", "brand_band", "brand = part.brand"))}) as price group by brand
  )
  select
    (select coalesce(sum(products), 0)::text from category_count) as products,
    (select coalesce(sum(products - in_stock), 0)::text from category_count) as sold_out,
    (select count(*) from inventory join product on id = product_id
      where on_hand - reserved between 1 and ${threshold}::bigint and active)::text as low_stock,
    (select ${sql.raw(ENTRIES)} from total_price) as prices,
    (select coalesce(json_agg(json_build_object('id', id, 'name', name, 'count', top_category.count::text,
        'prices', prices) order by top_category.count desc, name, id), '[]')
      from top_category join category_price on category_id = id) as categories,
    (select coalesce(json_agg(json_build_object('name', brand, 'count', top_brand.count::text,
        'prices', prices) order by top_brand.count desc, brand), '[]')
      from top_brand join brand_price using (brand)) as brands,
    now() as as_of`,
);
