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

/** Returns the rows of a page that match a text query, and one more if there is a next page. */
export async function searchProducts(
  { db, readShopSize }: SearchOptions,
  call: Call,
  search: PageSearch,
): Promise<ProductRow[]> {
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
