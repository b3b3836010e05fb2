import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import type { Brand } from "../brand/brand.ts";
import { findStats, type PricesRow } from "./stats-statement.ts";

/** Prices of products in one currency. */
export interface PriceStats {
  productCount: bigint;
  min: Money;
  average: Money;
  max: Money;
  median: Money;
}

/** The products of a category; those of its descendants are not included. */
export interface CategoryStats {
  categoryId: string;
  name: string;
  productCount: bigint;
  prices: PriceStats[];
}

/** The products of a brand. */
export interface BrandStats extends Brand {
  prices: PriceStats[];
}

/** Statistics of the products that are not deleted, in one snapshot. */
export interface CatalogStats {
  productCount: bigint;
  soldOutCount: bigint;
  /** Products with at least one and at most `lowStockThreshold` units. */
  lowStockCount: bigint;
  lowStockThreshold: bigint;
  /** One entry for each currency, the one of most products first. */
  prices: PriceStats[];
  /** The 1,000 categories with the most products. */
  categories: CategoryStats[];
  /** The 100 brands with the most products. */
  brands: BrandStats[];
  /** Time of the snapshot. */
  asOfTime: Date;
}

const DEFAULT_LOW_STOCK_THRESHOLD = 10n;

/**
 * Returns the statistics of the catalogue.
 * @param lowStockThreshold units up to which the stock counts as low; 10 when 0. Above 100 all products are read.
 */
export async function readCatalogStats(
  db: Database,
  call: Call,
  lowStockThreshold: bigint,
): Promise<CatalogStats> {
  const threshold = lowStockThreshold || DEFAULT_LOW_STOCK_THRESHOLD;
  const [row] = await db.read(call, findStats(threshold));
  if (row === undefined) throw new Error("the statement of the statistics returned no row");
  return {
    productCount: BigInt(row.products),
    soldOutCount: BigInt(row.sold_out),
    lowStockCount: BigInt(row.low_stock),
    lowStockThreshold: threshold,
    prices: row.prices.map(toPriceStats),
    categories: row.categories.map(({ id, name, count, prices }) => ({
      categoryId: id,
      name,
      productCount: BigInt(count),
      prices: prices.map(toPriceStats),
    })),
    brands: row.brands.map(({ name, count, prices }) => ({
      name,
      productCount: BigInt(count),
      prices: prices.map(toPriceStats),
    })),
    asOfTime: new Date(row.as_of),
  };
}

function toPriceStats({ currency, count, ...price }: PricesRow): PriceStats {
  const money = (minorUnits: string): Money => ({ currencyCode: currency, minorUnits: BigInt(minorUnits) });
  return {
    productCount: BigInt(count),
    min: money(price.min),
    average: money(price.average),
    max: money(price.max),
    median: money(price.median),
  };
}
