import { type RawBuilder, sql } from "kysely";
import { keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import { allOf, prepareDynamic, type Statement } from "../../infra/postgres/statement.ts";
import type { Cursor } from "../../kernel/page.ts";
import { filterCondition, type ResolvedFilter } from "./product-filter.ts";
import { ALL_COLUMNS, type ProductRow, selectList, storedColumns } from "./product-row.ts";
import { type ProductSort, sortColumns, toKeyset } from "./product-sort.ts";

/** Maximum number of categories whose pages are merged. For more, the index of the sort order is read. */
const MAX_MERGED_CATEGORIES = 200;

/** A page of a list to be read. */
export interface PageSpec {
  columns: readonly (keyof ProductRow)[];
  sort: ProductSort;
  /** Sort values of the last row of the previous page; undefined on the first page. */
  after: Cursor | undefined;
  /** Number of rows of the page. One more is read to detect a next page. */
  size: number;
}

/** Returns the columns of a page with those of its sort order, which the cursor needs. */
export function pageColumns({ columns, sort }: PageSpec): (keyof ProductRow)[] {
  return [...columns, ...sortColumns(sort)];
}

/** Returns the statement of a page without a text query. It reads by keyset, so every page costs the same. */
export function pageStatement(filter: ResolvedFilter, page: PageSpec): Statement<ProductRow> {
  const merged = mergedColumns(filter, page.sort);
  const statement = merged.length === 0 ? plainPage(filter, page) : mergedPage(filter, page, merged);
  // Prepared texts stay in each connection: those with all columns are few, those with read masks too many.
  return page.columns === ALL_COLUMNS && !filter.showDeleted ? prepareDynamic(statement) : statement;
}

function plainPage(
  filter: ResolvedFilter,
  page: PageSpec,
  condition?: RawBuilder<unknown>,
): RawBuilder<ProductRow> {
  const keyset = toKeyset(page.sort);
  return sql<ProductRow>`
    select ${selectList(pageColumns(page))} from product
    where ${allOf([condition, filterCondition(filter, "estimate"), keysetCondition(keyset, page.after)])}
    ${keysetOrder(keyset)} limit ${page.size + 1}`;
}

/** A leading column of an index of a sort order. */
type LeadingColumn = "category_id" | "active";

/** Returns the leading columns of the sort order's index of which the filter accepts several values. */
function mergedColumns(
  { categoryIds, showDeleted }: ResolvedFilter,
  { column }: ProductSort,
): LeadingColumn[] {
  const hasCategoryIndex =
    column === undefined || column === "name" || column === "price_minor" || column === "popularity";
  const hasActiveIndex = column === "name" || (column === undefined && categoryIds.length > 0);
  const merged: LeadingColumn[] = [];
  if (hasCategoryIndex && categoryIds.length > 1 && categoryIds.length <= MAX_MERGED_CATEGORIES) {
    merged.push("category_id");
  }
  if (hasActiveIndex && showDeleted) merged.push("active");
  return merged;
}

/**
 * Merges a page of each value of the leading columns. The cost is that of as many pages; otherwise PostgreSQL
 * sorts all matching products.
 */
function mergedPage(
  filter: ResolvedFilter,
  page: PageSpec,
  columns: readonly LeadingColumn[],
): RawBuilder<ProductRow> {
  const values: Record<LeadingColumn, RawBuilder<unknown>> = {
    category_id: sql`unnest(${filter.categoryIds}::uuid[])`,
    active: sql`unnest(array[true, false])`,
  };
  const lists = columns.map((column) => sql`${values[column]} as ${sql.raw(`leading_${column} (value)`)}`);
  const isPart = allOf(columns.map((column) => sql.raw(`${column} = leading_${column}.value`)));
  const rest = columns.includes("category_id") ? { ...filter, categoryIds: [] } : filter;
  const selected = pageColumns(page);
  // Stock and units sold are read for the rows of the page only.
  const stored = { ...page, columns: storedColumns(["id", ...selected]) };
  return sql<ProductRow>`
    select ${selectList(selected)} from ${sql.join(lists, sql` cross join `)} cross join lateral (
      ${plainPage(rest, stored, isPart)}
    ) as product ${keysetOrder(toKeyset(page.sort))} limit ${page.size + 1}`;
}
