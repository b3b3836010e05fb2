import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { conditions, type ProductScope } from "./product-query.ts";

/** Whether a list counts what it pages through. */
export type TotalMode = "NONE" | "ESTIMATED" | "EXACT";

/** How many products there are over all pages; 0 when not asked for. */
export async function countProducts(
  db: Database,
  call: Call,
  scope: ProductScope,
  mode: TotalMode,
): Promise<number> {
  if (mode === "NONE") return 0;
  if (mode === "EXACT") {
    const { text, values } = countedBy(scope, []);
    const [row] = await db.read<{ count: string }>(call, { text }, values);
    return Number(row?.count ?? 0);
  }
  // The planner's own guess, from the statistics that autovacuum keeps: no row is read.
  const { where, values } = conditions(scope);
  const text = `explain (format json) select 1 from product where ${where}`;
  const [row] = await db.read<{ "QUERY PLAN": [{ Plan: { "Plan Rows": number } }] }>(call, { text }, values);
  return row?.["QUERY PLAN"][0].Plan["Plan Rows"] ?? 0;
}

/** What products can be counted by. */
export type CountColumn = "brand" | "category_id" | "currency" | "band";

/**
 * The products of a filter, counted by some columns. What triggers have counted answers it where category,
 * brand and stock are the only filters: some thousand rows for a million products. Else each is looked at.
 */
export function countedBy(
  scope: ProductScope,
  columns: readonly CountColumn[],
): { text: string; values: unknown[] } {
  const group = columns.length === 0 ? "" : `group by ${columns.join(", ")}`;
  if (!isTallied(scope)) {
    const { where, values } = conditions(scope);
    const selected = columns.map((column) =>
      column === "band" ? "price_band(price_minor) as band" : column,
    );
    const text = `select ${[...selected, "count(*) as count"].join(", ")} from product where ${where} ${group}`;
    return { text, values };
  }
  const values: unknown[] = [];
  const tests = [
    scope.categoryIds.length > 0 && `category_id = any($${values.push(scope.categoryIds)}::uuid[])`,
    scope.brand !== "" && `brand = $${values.push(scope.brand)}`,
  ].filter((test) => test !== false);
  const where = tests.length === 0 ? "" : `where ${tests.join(" and ")}`;
  const count = `coalesce(sum(${scope.inStockOnly ? "in_stock_count" : "product_count"}), 0) as count`;
  return { text: `select ${[...columns, count].join(", ")} from product_tally ${where} ${group}`, values };
}

function isTallied({ search, showDeleted, ...scope }: ProductScope): boolean {
  const others = [search, scope.minPrice, scope.maxPrice, scope.minCreateTime, scope.maxCreateTime];
  return !showDeleted && others.every((filter) => filter === undefined);
}
