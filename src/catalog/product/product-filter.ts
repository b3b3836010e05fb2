import { type RawBuilder, sql } from "kysely";
import { allOf } from "../../infra/postgres/statement.ts";
import { invalidField } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { MAX_CATEGORIES, type MatchMethod } from "../search/plan.ts";
import { categoryLexeme, type SearchQuery, splitWords } from "../search/query-terms.ts";

/** The filters of a list. Those that are empty or undefined do not apply. */
export interface ProductFilter {
  /** The category; products of its descendants match too. */
  categoryId: string;
  brand: string;
  /** Inclusive; both prices have the same currency. */
  minPrice: Money | undefined;
  /** Inclusive. */
  maxPrice: Money | undefined;
  inStockOnly: boolean;
  /** Inclusive. */
  minCreateTime: Date | undefined;
  /** Exclusive. */
  maxCreateTime: Date | undefined;
  /** Text query as the caller typed it. */
  query: string;
  showDeleted: boolean;
}

/** A filter whose category and text query have been looked up. */
export interface ResolvedFilter extends ProductFilter {
  /** The category and its descendants; empty for all categories. */
  categoryIds: readonly string[];
  /** Undefined for a query without words. */
  search: SearchQuery | undefined;
}

/**
 * Checks the ranges of a filter.
 * @throws AppError invalid_argument for an empty range, and for prices in different currencies
 */
export function assertRanges({ minPrice, maxPrice, minCreateTime, maxCreateTime }: ProductFilter): void {
  if (minPrice !== undefined && maxPrice !== undefined) {
    if (minPrice.currencyCode !== maxPrice.currencyCode) {
      throw invalidField("max_price.currency_code", "must be the currency of min_price");
    }
    if (minPrice.minorUnits > maxPrice.minorUnits) {
      throw invalidField("max_price", "must not be lower than min_price");
    }
  }
  if (minCreateTime !== undefined && maxCreateTime !== undefined && minCreateTime >= maxCreateTime) {
    throw invalidField("max_create_time", "must be later than min_create_time");
  }
}

/** Returns whether the filter has a range of prices or times. */
export function hasRange({ minPrice, maxPrice, minCreateTime, maxCreateTime }: ProductFilter): boolean {
  return [minPrice, maxPrice, minCreateTime, maxCreateTime].some((bound) => bound !== undefined);
}

/** Returns the condition that a product matches a filter. */
export function filterCondition(filter: ResolvedFilter, method: MatchMethod): RawBuilder<boolean> {
  const { categoryIds, search, brand, minPrice, maxPrice, minCreateTime, maxCreateTime } = filter;
  const currency = minPrice?.currencyCode ?? maxPrice?.currencyCode;
  // The text index contains the categories of each product, so one lookup covers both.
  const isCategorySearched =
    search !== undefined && method !== "filter" && categoryIds.length <= MAX_CATEGORIES;
  return allOf([
    filter.showDeleted ? undefined : sql`active`,
    isCategorySearched ? undefined : categoryCondition(categoryIds),
    brand === "" ? undefined : sql`brand = ${brand}`,
    currency === undefined ? undefined : sql`currency = ${currency}`,
    minPrice && sql`price_minor >= ${minPrice.minorUnits}`,
    maxPrice && sql`price_minor <= ${maxPrice.minorUnits}`,
    minCreateTime && sql`created_at >= ${minCreateTime.toISOString()}`,
    maxCreateTime && sql`created_at < ${maxCreateTime.toISOString()}`,
    filter.inStockOnly ? sql`in_stock` : undefined,
    search && matchCondition(search, isCategorySearched ? categoryIds : [], brand, method),
    search && search.filtered !== "" ? sql`ts_match_vq(search, ${search.filtered}::tsquery)` : undefined,
  ]);
}

function categoryCondition(categoryIds: readonly string[]): RawBuilder<unknown> | undefined {
  if (categoryIds.length === 0) return undefined;
  return categoryIds.length === 1
    ? sql`category_id = ${categoryIds[0]}`
    : sql`category_id = any(${categoryIds}::uuid[])`;
}

function matchCondition(
  { indexed }: SearchQuery,
  categoryIds: readonly string[],
  brand: string,
  method: MatchMethod,
): RawBuilder<unknown> {
  const categories = categoryIds.map(categoryLexeme).join(" | ");
  const query = sql`${categories === "" ? indexed : `${indexed} & (${categories})`}::tsquery`;
  switch (method) {
    case "estimate":
      return sql`search @@ ${query}`;
    case "index":
      // All products of a brand have its words. Without words the second query is empty and changes nothing.
      return brand === ""
        ? sql`search @@ ${query}`
        : sql`search @@ (${query} && plainto_tsquery('simple', ${splitWords(brand).join(" ")}))`;
    case "prepared":
      return sql`search @@ (select ${query})`;
    case "filter":
      // Indexes serve the operator @@, but not the function that implements it.
      return sql`ts_match_vq(search, ${query})`;
  }
}
