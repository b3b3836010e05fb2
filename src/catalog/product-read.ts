import type { Database } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import { invalidField, notFound } from "../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, pageSize } from "../kernel/page.ts";
import { cursorOf, pageStatement, readOrder } from "./product-page.ts";
import {
  batchStatement,
  conditions,
  fromRow,
  keyStatement,
  type ProductFilter,
  type ProductRow,
  type ProductView,
  readColumns,
} from "./product-query.ts";

/** Whether a list counts what it pages through. */
export type TotalMode = "NONE" | "ESTIMATED" | "EXACT";

/** A list of products, asked for. */
export interface ProductListRequest extends PageRequest, ProductFilter {
  orderBy: string;
  readMask: readonly string[];
  total: TotalMode;
}

/** A product by one of its keys. */
export interface ProductKey {
  column: "id" | "sku";
  value: string;
}

/** The reads of products, as statements that PostgreSQL plans once. */
export function createProductReads({ db, tokens }: { db: Database; tokens: PageTokens }) {
  return {
    /** One product. NOT_FOUND when there is none, or it is deleted and `showDeleted` is not set. */
    async get(
      call: Call,
      key: ProductKey,
      { showDeleted, readMask }: { showDeleted: boolean; readMask: readonly string[] },
    ): Promise<ProductView> {
      const columns = readColumns(readMask);
      const [row] = await db.read<ProductRow>(call, keyStatement(key.column, columns, showDeleted), [
        key.value,
      ]);
      if (row === undefined) throw notFound("product", key.value);
      return fromRow(row);
    },

    /** Products by id, in the order of the ids, all or NOT_FOUND. */
    async batch(call: Call, ids: readonly string[], readMask: readonly string[]): Promise<ProductView[]> {
      const columns = readColumns(readMask);
      const rows = await db.read<ProductRow>(call, batchStatement(columns), [ids]);
      const products = new Map(rows.map((row) => [row.id, fromRow(row)]));
      return ids.map((id) => {
        const product = products.get(id.toLowerCase());
        if (product === undefined) throw notFound("product", id);
        return product;
      });
    },

    /** A page of products, and how many there are when that was asked for. */
    async list(call: Call, request: ProductListRequest): Promise<Page<ProductView> & { total: number }> {
      const { pageToken, pageSize: asked, readMask, total, orderBy, ...filter } = request;
      assertPriceRange(filter);
      const order = readOrder(orderBy);
      const columns = readColumns(readMask);
      const query = { list: "products", filter, order };
      const size = pageSize(asked);
      const { statement, values } = pageStatement(
        columns,
        filter,
        order,
        tokens.read(pageToken, query),
        size,
      );
      const [rows, count] = await Promise.all([
        db.read<ProductRow>(call, statement, values),
        countProducts(db, call, filter, total),
      ]);
      return { ...tokens.page(rows, size, query, cursorOf(order), fromRow), total: count };
    },
  };
}

/** Refuses a range that nothing can be in, or whose ends are in different currencies. */
function assertPriceRange({ minPrice, maxPrice }: ProductFilter): void {
  if (minPrice === undefined || maxPrice === undefined) return;
  if (minPrice.currencyCode !== maxPrice.currencyCode) {
    throw invalidField("max_price.currency_code", "must be the currency of min_price");
  }
  if (minPrice.minorUnits > maxPrice.minorUnits) {
    throw invalidField("max_price", "must not be lower than min_price");
  }
}

/** How many products there are over all pages; 0 when not asked for. */
async function countProducts(
  db: Database,
  call: Call,
  filter: ProductFilter,
  mode: TotalMode,
): Promise<number> {
  if (mode === "NONE") return 0;
  const { where, values } = conditions(filter);
  if (mode === "EXACT") {
    const text = `select count(*)::int as count from product where ${where}`;
    const [row] = await db.read<{ count: number }>(call, { text }, values);
    return row?.count ?? 0;
  }
  // The planner's own guess, from the statistics that autovacuum keeps: no row is read.
  const text = `explain (format json) select 1 from product where ${where}`;
  const [row] = await db.read<{ "QUERY PLAN": [{ Plan: { "Plan Rows": number } }] }>(call, { text }, values);
  return row?.["QUERY PLAN"][0].Plan["Plan Rows"] ?? 0;
}
