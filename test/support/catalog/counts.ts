import type { CatalogStats, PriceStats } from "../../../src/catalog/stats/catalog-stats.ts";
import type { TestDatabase } from "../stores/database.ts";

/** Statistics as arrays of text, so that counts of the service and of the test can be compared. */
export type Counts = Record<"products" | "sold_out" | "low_stock", string> &
  Record<"prices" | "categories" | "brands", unknown[]>;

const COUNT = `
  with sold as (
    select product.*, on_hand - reserved as stock_quantity, category.name as category_name
    from product join category on category.id = category_id join inventory on product_id = product.id
    where deleted_at is null
  ), price as (
    select grouping(category_id, brand) as kind, category_id, brand, currency, count(*) as count,
      json_build_array(currency, count(*)::text, min(price_minor)::text, round(avg(price_minor))::text, max(price_minor)::text,
        percentile_disc(0.5) within group (order by price_minor)::text) as prices
    from sold group by grouping sets ((currency), (category_id, currency), (brand, currency))
  )
  select (select count(*)::text from sold) as products,
    (select count(*)::text from sold where stock_quantity = 0) as sold_out,
    (select count(*)::text from sold where stock_quantity between 1 and $1) as low_stock,
    (select coalesce(json_agg(prices order by count desc, currency), '[]') from price where kind = 3) as prices,
    (select coalesce(json_agg(json_build_array(category_id, category_name, count::text, (
        select json_agg(prices order by count desc, currency) from price where kind = 1 and price.category_id = of.category_id
      )) order by count desc, category_name, category_id), '[]')
      from (select category_id, category_name, count(*) as count from sold group by 1, 2) as of) as categories,
    (select coalesce(json_agg(json_build_array(brand, count::text, (
        select json_agg(prices order by count desc, currency) from price where kind = 2 and price.brand = of.brand
      )) order by count desc, brand), '[]')
      from (select brand, count(*) as count from sold where brand <> '' group by 1 order by 2 desc, 1 limit 100) as of) as brands`;

/** Returns the statistics, counted from the product rows. */
export async function countFromProducts(database: TestDatabase, lowStockThreshold: bigint): Promise<Counts> {
  const [row] = await database.query<Counts>(COUNT, [lowStockThreshold]);
  if (row === undefined) throw new Error("the count returned no row");
  return row;
}

/** Converts the statistics of the service to counts. */
export function toCounts(stats: CatalogStats): Counts {
  return {
    products: String(stats.productCount),
    sold_out: String(stats.soldOutCount),
    low_stock: String(stats.lowStockCount),
    prices: stats.prices.map(toPriceCounts),
    categories: stats.categories.map(({ categoryId, name, productCount, prices }) => [
      categoryId,
      name,
      String(productCount),
      prices.map(toPriceCounts),
    ]),
    brands: stats.brands.map(({ name, productCount, prices }) => [
      name,
      String(productCount),
      prices.map(toPriceCounts),
    ]),
  };
}

function toPriceCounts({ productCount, min, average, max, median }: PriceStats): string[] {
  const amounts = [min, average, max, median].map(({ minorUnits }) => String(minorUnits));
  return [min.currencyCode, String(productCount), ...amounts];
}
