import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { filterCondition, hasRange, type ResolvedFilter } from "../product/product-filter.ts";
import { ALL_COLUMNS, type ProductRow } from "../product/product-row.ts";
import type { ProductSort } from "../product/product-sort.ts";
import {
  firstStrategy,
  MAX_SCAN_ROWS,
  matchMethod,
  nextStrategy,
  type PlanInput,
  type ShopSize,
} from "./plan.ts";
import type { QueryTerm } from "./query-terms.ts";
import { type RangeColumn, readSortRange, type SortRange } from "./sort-range.ts";
import { type PageSearch, strategyStatement } from "./strategy-statement.ts";

/** Columns whose sort order is the order of creation, at least among many equal values such as 0 units sold. */
const CLUSTERED: ReadonlySet<ProductSort["column"]> = new Set([
  undefined,
  "created_at",
  "popularity",
  "rating_average",
]);

/** Dependencies of a search. */
export interface SearchOptions {
  db: Database;
  readShopSize(call: Call): Promise<ShopSize>;
}

/** A request for a page of a search. */
export interface SearchRequest extends Omit<PageSearch, "range"> {
  /** The terms of the query. */
  terms: readonly QueryTerm[];
}

/** Returns the rows of a page that match a text query, and one more if there is a next page. */
export async function searchProducts(
  { db, readShopSize }: SearchOptions,
  call: Call,
  request: SearchRequest,
): Promise<ProductRow[]> {
  const search = await narrowSearch(db, call, request);
  if (search === undefined) return [];
  const { filter, page } = search;
  const input: PlanInput = {
    byRelevance: page.sort.column === "relevance",
    descending: page.sort.descending,
    isFirstPage: page.after === undefined,
    // The index of names begins with `active`, so that it sorts deleted products separately.
    hasSortIndex: !(filter.showDeleted && page.sort.column === "name"),
    isClustered: CLUSTERED.has(page.sort.column),
    rows: page.size + 1,
    shop: await readShopSize(call),
  };
  const isUsual =
    page.columns === ALL_COLUMNS && !filter.showDeleted && filter.brand === "" && !hasRange(filter);
  for (let strategy = firstStrategy(input); ; ) {
    const isScan = strategy.kind === "popular-products" || strategy.kind === "sort-order-scan";
    const productsInRange = isScan ? undefined : await countInRange(db, call, filter);
    const method = matchMethod(isUsual, productsInRange);
    const rows = await db.read(call, strategyStatement(strategy, search, method));
    if (rows.length === input.rows) return rows;
    const next = nextStrategy(strategy, rows.length, input);
    if (next === undefined) return rows;
    strategy = next;
  }
}

/**
 * Adds the range of the sort column to a request, and narrows its price filter to the prices of products with the terms.
 * Returns undefined if no product can match.
 */
async function narrowSearch(
  db: Database,
  call: Call,
  { terms, ...search }: SearchRequest,
): Promise<PageSearch | undefined> {
  const { filter, page } = search;
  const { column } = page.sort;
  const hasPrices = filter.minPrice !== undefined || filter.maxPrice !== undefined;
  // Ranges of categories omit deleted products.
  const read = async (ranged: RangeColumn, isRead: boolean) =>
    isRead && !filter.showDeleted ? readSortRange(db, call, terms, ranged) : undefined;
  const prices = await read("price_minor", hasPrices || column === "price_minor");
  const range = column === "price_minor" ? prices : await read("name", column === "name");
  if (prices?.isEmpty === true || range?.isEmpty === true) return undefined;
  const narrowed = prices === undefined || !hasPrices ? filter : narrowPrices(filter, prices);
  const { minPrice, maxPrice } = narrowed;
  const isEmpty =
    minPrice !== undefined && maxPrice !== undefined && minPrice.minorUnits > maxPrice.minorUnits;
  return isEmpty ? undefined : { ...search, filter: narrowed, range };
}

function narrowPrices(filter: ResolvedFilter, { low, high }: SortRange): ResolvedFilter {
  const { minPrice, maxPrice } = filter;
  const currencyCode = minPrice?.currencyCode ?? maxPrice?.currencyCode ?? "";
  const [min, max] = [BigInt(low), BigInt(high)];
  return {
    ...filter,
    minPrice:
      minPrice !== undefined && minPrice.minorUnits > min ? minPrice : { currencyCode, minorUnits: min },
    maxPrice:
      maxPrice !== undefined && maxPrice.minorUnits < max ? maxPrice : { currencyCode, minorUnits: max },
  };
}

/**
 * Counts the products in the range of a filter, up to the number that the plan needs; undefined without a range. The
 * planner misestimates it: it assumes that prices have the same distribution in all categories.
 */
async function countInRange(db: Database, call: Call, filter: ResolvedFilter): Promise<number | undefined> {
  if (!hasRange(filter)) return undefined;
  const isInRange = filterCondition({ ...filter, search: undefined, inStockOnly: false }, "estimate");
  const [row] = await db.read(
    call,
    sql<{ count: number }>`
      select count(*)::int from (select from product where ${isInRange} limit ${sql.lit(MAX_SCAN_ROWS + 1)}) as found`,
  );
  return row?.count;
}
