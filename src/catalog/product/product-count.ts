import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { filterCondition, hasRange, type ResolvedFilter } from "./product-filter.ts";

/** The precision to which a list counts the products of all its pages. */
export type TotalMode = "NONE" | "ESTIMATED" | "EXACT";

/** Returns the number of products over all pages; 0 for mode NONE. */
export async function countProducts(
  db: Database,
  call: Call,
  filter: ResolvedFilter,
  mode: TotalMode,
): Promise<number> {
  if (mode === "NONE") return 0;
  if (mode === "EXACT") {
    const [row] = await db.read(call, countStatement(filter, []));
    return Number(row?.count ?? 0);
  }
  // The planner estimates from the statistics that autovacuum keeps; no row is read.
  const [row] = await db.read(
    call,
    sql<{ "QUERY PLAN": [{ Plan: { "Plan Rows": number } }] }>`
      explain (format json) select 1 from product where ${filterCondition(filter, "estimate")}`,
  );
  return row?.["QUERY PLAN"][0].Plan["Plan Rows"] ?? 0;
}

/** A column by which products are counted. */
export type CountColumn = "brand" | "category_id" | "currency" | "band";

/**
 * Returns the statement that counts the products of a filter, grouped by columns. If category, brand and stock are
 * the only filters, it adds up the counts that triggers keep: some thousand rows for a million products. Otherwise it
 * reads each matching product.
 */
export function countStatement(
  filter: ResolvedFilter,
  columns: readonly CountColumn[],
): RawBuilder<{ count: string }> {
  const group = sql.raw(columns.length === 0 ? "" : `group by ${columns.join(", ")}`);
  if (filter.search !== undefined || filter.showDeleted || hasRange(filter)) {
    const values = columns.map((column) => (column === "band" ? "price_band(price_minor) as band" : column));
    return sql`
      select ${sql.raw([...values, "count(*) as count"].join(", "))}
      from product where ${filterCondition(filter, "estimate")} ${group}`;
  }
  const { categoryIds, brand, inStockOnly } = filter;
  const counted = inStockOnly ? "in_stock_count" : "product_count";
  const condition = allOf([
    categoryIds.length > 0 ? sql`category_id = any(${categoryIds}::uuid[])` : undefined,
    brand === "" ? undefined : sql`brand = ${brand}`,
  ]);
  return sql`
    select ${sql.raw([...columns, `coalesce(sum(${counted}), 0) as count`].join(", "))}
    from product_tally where ${condition} ${group}`;
}
