import { prepared } from "../../infra/postgres/postgres.ts";

/** What the products of a currency cost, as the statement answers it. */
export interface PricesRow {
  currency: string;
  count: string;
  min: string;
  average: string;
  max: string;
  median: string;
}

/** The one row of the statement. Numbers are texts: a number of JSON may be rounded. */
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
 * What products cost, by `key` and currency. The counts of the bands say in which band the lowest, the middle
 * and the highest price are, and which place the middle one has there; an index of prices finds them. No band
 * reaches further than 2.5 times its beginning (see the migration), which keeps the search for the highest
 * price from the dearer products of other currencies.
 * @param bands counts by `key`, currency and band
 * @param own which products are of the row's key
 */
function pricesOf(key: string, bands: string, own: string): string {
  const prices = `select price_minor from product where ${own} and active and currency = part.currency and price_minor`;
  return `
    select ${key}, currency, part.count, round(part.price_sum / part.count) as average,
      (${prices} >= part.lowest order by price_minor limit 1) as min,
      (${prices} >= part.middle order by price_minor limit 1 offset part.place) as median,
      (${prices} between part.highest and part.highest * 5 / 2 order by price_minor desc limit 1) as max
    from (
      select ${key}, currency, sum(products) as count, sum(price_sum) as price_sum,
        min(band) as lowest, max(band) as highest, min(band) filter (where upto > half) as middle,
        half - coalesce(max(upto) filter (where upto <= half), 0) as place
      from (
        select *, sum(products) over (partition by ${key}, currency order by band)::bigint as upto,
          div(sum(products) over (partition by ${key}, currency) - 1, 2)::bigint as half
        from ${bands} as band
      ) as ranked
      group by ${key}, currency, half
    ) as part`;
}

/** Prices as JSON, the currency of most products first. */
const ENTRIES = `
  coalesce(json_agg(json_build_object(
    'currency', currency, 'count', count::text, 'min', min::text, 'average', average::text, 'max', max::text,
    'median', median::text
  ) order by count desc, currency), '[]')`;

/**
 * The catalogue in numbers. One statement, and so one snapshot: the numbers add up. Its parameter is how many
 * units count as low: up to 100 they are counted in an index (see column stock_low), above that in the table.
 */
export const STATS = prepared(`
  with shelf as materialized (
    select category_id, currency, band, sum(product_count) as products, sum(in_stock_count) as in_stock,
      sum(price_sum) as price_sum
    from product_tally group by 1, 2, 3 having sum(product_count) > 0
  ),
  total_band as (
    select 0 as whole, currency, band, sum(products) as products, sum(price_sum) as price_sum from shelf group by 2, 3
  ),
  top_category as materialized (
    select category.id, category.name, sum(products) as count from shelf join category on category.id = category_id
    group by category.id order by count desc, category.name, category.id limit 1000
  ),
  category_band as (select shelf.* from shelf join top_category on id = category_id),
  top_brand as materialized (
    select brand, sum(product_count) as count from product_tally where brand <> ''
    group by brand having sum(product_count) > 0 order by count desc, brand limit 100
  ),
  brand_band as (
    select brand, currency, band, sum(product_count) as products, sum(price_sum) as price_sum
    from product_tally where brand in (select brand from top_brand) group by 1, 2, 3 having sum(product_count) > 0
  ),
  total_price as (${pricesOf("whole", "total_band", "true")}),
  category_price as (
    select category_id, ${ENTRIES} as prices
    from (${pricesOf("category_id", "category_band", "category_id = part.category_id")}) as price group by category_id
  ),
  brand_price as (
    select brand, ${ENTRIES} as prices
    from (${pricesOf("brand", "brand_band", "brand = part.brand")}) as price group by brand
  )
  select
    (select coalesce(sum(products), 0)::text from shelf) as products,
    (select coalesce(sum(products - in_stock), 0)::text from shelf) as sold_out,
    case when $1::bigint <= 100
      then (select count(*) from product where stock_low <= $1::bigint)
      else (select count(*) from product where active and stock_quantity between 1 and $1::bigint)
    end::text as low_stock,
    (select ${ENTRIES} from total_price) as prices,
    (select coalesce(json_agg(json_build_object('id', id, 'name', name, 'count', top_category.count::text,
        'prices', prices) order by top_category.count desc, name, id), '[]')
      from top_category join category_price on category_id = id) as categories,
    (select coalesce(json_agg(json_build_object('name', brand, 'count', top_brand.count::text,
        'prices', prices) order by top_brand.count desc, brand), '[]')
      from top_brand join brand_price using (brand)) as brands,
    now() as as_of`);
