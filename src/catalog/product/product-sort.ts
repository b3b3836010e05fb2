import type { Keyset } from "../../infra/postgres/keyset.ts";
import { invalidField } from "../../kernel/errors.ts";
import type { Cursor } from "../../kernel/page.ts";
import type { ProductRow } from "./product-row.ts";

type SortColumn = "name" | "price_minor" | "created_at" | "popularity" | "rating_average" | "relevance";

/** A sort order of products. Products with equal values are sorted by id. */
export interface ProductSort {
  /** Undefined to sort by id alone, which is the order of creation. */
  column: SortColumn | undefined;
  /** PostgreSQL type of the column. */
  type: string;
  descending: boolean;
}

/** The sort order of a list without `order_by`. */
export const SORT_BY_ID: ProductSort = { column: undefined, type: "uuid", descending: false };

/** The column of each name that `order_by` accepts. */
const SORTS: Readonly<Record<string, { column: SortColumn; type: string }>> = {
  name: { column: "name", type: "text" },
  price: { column: "price_minor", type: "bigint" },
  create_time: { column: "created_at", type: "timestamptz" },
  popularity: { column: "popularity", type: "smallint" },
  rating: { column: "rating_average", type: "double precision" },
  relevance: { column: "relevance", type: "bigint" },
};

/**
 * Parses `order_by` (AIP-132). "relevance" without a direction sorts the most relevant first.
 * @param hasQuery whether the list has a text query, which relevance needs
 * @throws AppError invalid_argument for any other text, which lists the valid names
 */
export function parseSort(orderBy: string, hasQuery: boolean): ProductSort {
  if (orderBy.trim() === "") return hasQuery ? parseSort("relevance", true) : SORT_BY_ID;
  const [, name = "", direction] = /^\s*([a-z_]+)(?:\s+(asc|desc))?\s*$/.exec(orderBy) ?? [];
  const sort = Object.hasOwn(SORTS, name) ? SORTS[name] : undefined;
  if (sort === undefined || (sort.column === "relevance" && !hasQuery)) {
    const names = Object.keys(SORTS).filter((known) => hasQuery || known !== "relevance");
    const reason = sort === undefined ? "" : "by relevance needs a query; without one it ";
    throw invalidField(
      "order_by",
      `${reason}must be one of ${names.join(", ")}, with " desc" for descending order`,
    );
  }
  return { ...sort, descending: sort.column === "relevance" ? direction !== "asc" : direction === "desc" };
}

/** Returns the columns of a sort order, most significant first. */
export function sortColumns({ column }: ProductSort): (keyof ProductRow)[] {
  return column === undefined ? ["id"] : [column, "id"];
}

/** Returns the keyset of a sort order. */
export function toKeyset({ column, type, descending }: ProductSort): Keyset {
  const id = { name: "id", type: "uuid" };
  return { columns: column === undefined ? [id] : [{ name: column, type }, id], descending };
}

/** Returns the values of a row's sort columns, for the cursor. */
export function sortValues(sort: ProductSort, row: ProductRow): Cursor {
  return sort.column === undefined ? [row.id] : [row[sort.column] ?? "", row.id];
}
