import { invalidField } from "../../kernel/errors.ts";
import type { Cursor } from "../../kernel/page.ts";
import type { ProductRow } from "./product-query.ts";

type OrderColumn = "name" | "price_minor" | "created_at" | "popularity" | "rating_average" | "relevance";

/** An order of products; without a column it is that of the ids. */
export interface ProductSort {
  column: OrderColumn | undefined;
  /** The column's PostgreSQL type, for the cursor. */
  type: string;
  descending: boolean;
}

/** The order without a name: that of creation. */
export const BY_ID: ProductSort = { column: undefined, type: "uuid", descending: false };

/** What a list can be ordered by. */
const ORDERS: Readonly<Record<string, { column: OrderColumn; type: string }>> = {
  name: { column: "name", type: "text" },
  price: { column: "price_minor", type: "bigint" },
  create_time: { column: "created_at", type: "timestamptz" },
  popularity: { column: "popularity", type: "smallint" },
  rating: { column: "rating_average", type: "double precision" },
  relevance: { column: "relevance", type: "bigint" },
};

/**
 * Reads `order_by` (AIP-132). INVALID_ARGUMENT that names what there is. Nobody wants the least relevant
 * first, so that "relevance" alone is the best first, and " asc" the other way round.
 */
export function parseSort(orderBy: string, searched: boolean): ProductSort {
  if (orderBy.trim() === "") return searched ? parseSort("relevance", true) : BY_ID;
  const match = /^\s*([a-z_]+)(?:\s+(asc|desc))?\s*$/.exec(orderBy);
  const order = match?.[1] !== undefined && Object.hasOwn(ORDERS, match[1]) ? ORDERS[match[1]] : undefined;
  if (order === undefined || (order.column === "relevance" && !searched)) {
    const names = Object.keys(ORDERS).filter((name) => searched || name !== "relevance");
    const what = order === undefined ? "" : "by relevance needs a query; without one it ";
    throw invalidField(
      "order_by",
      `${what}must be one of ${names.join(", ")}, with " desc" for the other way round`,
    );
  }
  return {
    ...order,
    descending: order.column === "relevance" ? match?.[2] !== "asc" : match?.[2] === "desc",
  };
}

/** The columns that a page is ordered by. */
export function sortColumns({ column }: ProductSort): (keyof ProductRow)[] {
  return column === undefined ? ["id"] : [column, "id"];
}

/** Where a row is in an order. */
export function sortValues(order: ProductSort, row: ProductRow): Cursor {
  return order.column === undefined ? [row.id] : [row[order.column] ?? "", row.id];
}

/** The condition that a row comes after a place, both as SQL. */
export function isAfter(order: ProductSort, after: Cursor, bind: (value: unknown) => string): string {
  const types = order.column === undefined ? ["uuid"] : [order.type, "uuid"];
  const place = after.map((value, at) => `${bind(value)}::${types[at]}`);
  return `(${sortColumns(order)}) ${order.descending ? "<" : ">"} (${place})`;
}

/** Rows by some columns, all in the direction of the order, as SQL. */
export function sorted({ descending }: ProductSort, ...columns: string[]): string {
  return `order by ${columns.map((column) => `${column} ${descending ? "desc" : "asc"}`).join(", ")}`;
}
