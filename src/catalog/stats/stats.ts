import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import type { Brand } from "../brand/brand.ts";
import { type PricesRow, STATS, type StatsRow } from "./stats-statement.ts";

/** Prices of the products in one currency. */
export interface PriceStats {
  productCount: bigint;
  min: Money;
  average: Money;
  max: Money;
  median: Money;
}

/** The products of one category. */
export interface CategoryStats {
  categoryId: string;
  name: string;
  productCount: bigint;
  prices: PriceStats[];
}

/** The products of one brand. */
export interface BrandStats extends Brand {
  prices: PriceStats[];
}

/** The catalogue in numbers, as of one moment. */
export interface CatalogStats {
  productCount: bigint;
  soldOutCount: bigint;
  lowStockCount: bigint;
  lowStockThreshold: bigint;
  prices: PriceStats[];
  categories: CategoryStats[];
  brands: BrandStats[];
  asOfTime: Date;
}

/** How many units count as low when the caller does not say. */
const DEFAULT_LOW_STOCK = 10n;

/** What the catalogue adds up to. */
export function createCatalogStats({ db }: { db: Database }) {
  return {
    /**
     * All numbers of one moment.
     * @param lowStockThreshold units that count as low; 10 when 0. Above 100 all products are read.
     */
    async stats(call: Call, lowStockThreshold: bigint): Promise<CatalogStats> {
      const threshold = lowStockThreshold || DEFAULT_LOW_STOCK;
      const [row] = await db.read<StatsRow>(call, STATS, [threshold]);
      if (row === undefined) throw new Error("an aggregate without a row");
      return {
        productCount: BigInt(row.products),
        soldOutCount: BigInt(row.sold_out),
        lowStockCount: BigInt(row.low_stock),
        lowStockThreshold: threshold,
        prices: row.prices.map(pricesOf),
        categories: row.categories.map(({ id, name, count, prices }) => ({
          categoryId: id,
          name,
          productCount: BigInt(count),
          prices: prices.map(pricesOf),
        })),
        brands: row.brands.map(({ name, count, prices }) => ({
          name,
          productCount: BigInt(count),
          prices: prices.map(pricesOf),
        })),
        asOfTime: new Date(row.as_of),
      };
    },
  };
}

function pricesOf({ currency, count, ...price }: PricesRow): PriceStats {
  const money = (minorUnits: string): Money => ({ currencyCode: currency, minorUnits: BigInt(minorUnits) });
  return {
    productCount: BigInt(count),
    min: money(price.min),
    average: money(price.average),
    max: money(price.max),
    median: money(price.median),
  };
}
