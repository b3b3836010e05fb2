import { type Database, prepared } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Money } from "../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, pageSize } from "../kernel/page.ts";

/** A brand with products that are sold. */
export interface Brand {
  name: string;
  productCount: bigint;
}

/** Prices of the products in one currency. */
export interface PriceStats {
  productCount: bigint;
  min: Money;
  average: Money;
  max: Money;
  median: Money;
}

/** The catalogue in numbers, as of one moment. */
export interface CatalogStats {
  productCount: bigint;
  soldOutCount: bigint;
  lowStockCount: bigint;
  lowStockThreshold: bigint;
  prices: PriceStats[];
  categories: { categoryId: string; name: string; productCount: bigint }[];
  brands: Brand[];
  asOfTime: Date;
}

/** How many units count as low when the caller does not say. */
const DEFAULT_LOW_STOCK = 10n;

// A walk from brand to brand along (brand, price): each step jumps to the next brand instead of reading all
// products (a loose index scan).
const BRANDS = prepared(`
  with recursive walk as (
    (select brand from product where brand > $1 order by brand limit 1)
    union all
    select (select product.brand from product where product.brand > walk.brand order by product.brand limit 1)
    from walk where walk.brand is not null
  )
  select brand as name, count from walk,
    lateral (select count(*) from product where product.brand = walk.brand and active) as counted
  where brand is not null and count > 0 limit $2`);

// One statement, and so one snapshot: the numbers add up.
const STATS = prepared(`
  with sold as materialized (
    select category_id, brand, currency, price_minor, stock_quantity from product where active
  )
  select
    (select count(*) from sold) as products,
    (select count(*) from sold where stock_quantity = 0) as sold_out,
    (select count(*) from sold where stock_quantity between 1 and $1::bigint) as low_stock,
    (select coalesce(json_agg(price), '[]') from (
      select currency, count(*)::text as count, min(price_minor)::text as min, round(avg(price_minor))::text as average,
        max(price_minor)::text as max,
        (percentile_disc(0.5) within group (order by price_minor))::text as median
      from sold group by currency order by count(*) desc, currency
    ) as price) as prices,
    (select coalesce(json_agg(entry), '[]') from (
      select category.id, category.name, count(*)::text as count
      from sold join category on category.id = category_id
      group by category.id order by count(*) desc, category.name
    ) as entry) as categories,
    (select coalesce(json_agg(entry), '[]') from (
      select brand as name, count(*)::text as count from sold where brand <> ''
      group by brand order by count(*) desc, brand limit 100
    ) as entry) as brands,
    now() as as_of`);

interface StatsRow {
  products: string;
  sold_out: string;
  low_stock: string;
  prices: { currency: string; count: string; min: string; average: string; max: string; median: string }[];
  categories: { id: string; name: string; count: string }[];
  brands: { name: string; count: string }[];
  as_of: string;
}

/** What the catalogue adds up to. */
export function createCatalogStats({ db, tokens }: { db: Database; tokens: PageTokens }) {
  return {
    /** Brands with products that are sold, by name. */
    async listBrands(call: Call, page: PageRequest): Promise<Page<Brand>> {
      const query = { list: "brands" };
      const size = pageSize(page.pageSize);
      const [after = ""] = tokens.read(page.pageToken, query) ?? [];
      const rows = await db.read<{ name: string; count: string }>(call, BRANDS, [after, size + 1]);
      return tokens.page(rows, size, query, (row) => [row.name], brandOf);
    },

    /** All numbers of one moment. @param lowStockThreshold units that count as low; 10 when 0 */
    async stats(call: Call, lowStockThreshold: bigint): Promise<CatalogStats> {
      const threshold = lowStockThreshold || DEFAULT_LOW_STOCK;
      const [row] = await db.read<StatsRow>(call, STATS, [threshold]);
      if (row === undefined) throw new Error("an aggregate without a row");
      return {
        productCount: BigInt(row.products),
        soldOutCount: BigInt(row.sold_out),
        lowStockCount: BigInt(row.low_stock),
        lowStockThreshold: threshold,
        prices: row.prices.map((price) => {
          const money = (minorUnits: string): Money => ({
            currencyCode: price.currency,
            minorUnits: BigInt(minorUnits),
          });
          return {
            productCount: BigInt(price.count),
            min: money(price.min),
            average: money(price.average),
            max: money(price.max),
            median: money(price.median),
          };
        }),
        categories: row.categories.map(({ id, name, count }) => ({
          categoryId: id,
          name,
          productCount: BigInt(count),
        })),
        brands: row.brands.map(brandOf),
        asOfTime: new Date(row.as_of),
      };
    },
  };
}

function brandOf({ name, count }: { name: string; count: string }): Brand {
  return { name, productCount: BigInt(count) };
}
