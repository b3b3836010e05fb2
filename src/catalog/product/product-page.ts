import { prepared, type TextStatement } from "../../infra/postgres/postgres.ts";
import type { Cursor } from "../../kernel/page.ts";
import { ALL_COLUMNS, conditions, type ProductRow, type ProductScope } from "./product-query.ts";
import { isAfter, type ProductSort, sortColumns, sorted } from "./product-sort.ts";

/** Up to so many categories each give their part of a page; of more, the index of the order finds them. */
const MAX_MERGED = 200;

/** A page of a list. */
export interface PageSpec {
  columns: readonly (keyof ProductRow)[];
  order: ProductSort;
  /** Where the page begins. */
  after: Cursor | undefined;
  /** How many rows; one more is read to know whether there is a next page. */
  size: number;
}

interface PageParts {
  columns: string;
  where: string;
  /** The order and the limit. */
  tail: string;
}

/** The statement of one page without words, by key and not by offset, so that each costs what the first costs. */
export function pageStatement(
  scope: ProductScope,
  { columns, order, after, size }: PageSpec,
): { statement: TextStatement; values: unknown[] } {
  const parts = partsOf(scope, order);
  const byCategory = parts.includes("category_id");
  const { where, values } = conditions(byCategory ? { ...scope, categoryIds: [] } : scope);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const page: PageParts = {
    columns: [...new Set([...columns, ...sortColumns(order)])].join(", "),
    where: after === undefined ? where : `${where} and ${isAfter(order, after, bind)}`,
    tail: `${sorted(order, ...sortColumns(order))} limit ${bind(size + 1)}`,
  };
  const lists: Record<Part, string> = {
    category_id: byCategory ? `unnest(${bind(scope.categoryIds)}::uuid[])` : "",
    active: "unnest(array[true, false])",
  };
  const text = parts.length === 0 ? pageText(page) : mergedText(page, parts, lists);
  // Each named text stays in each connection: the usual shapes get a name, those of all masks would be too many.
  const usual = columns === ALL_COLUMNS && !scope.showDeleted;
  return { statement: usual ? prepared(text) : { text }, values };
}

function pageText({ columns, where, tail }: PageParts): string {
  return `select ${columns} from product where ${where} ${tail}`;
}

/** What the indexes of an order begin with; a list of several of its values is merged of one list of each. */
type Part = "category_id" | "active";

/** The columns of which the list wants several values where the index of its order begins with them. */
function partsOf({ categoryIds, showDeleted }: ProductScope, { column }: ProductSort): Part[] {
  const several = categoryIds.length > 1 && categoryIds.length <= MAX_MERGED;
  const both = showDeleted && (column === "name" || (column === undefined && categoryIds.length > 0));
  const indexed =
    column === undefined || column === "name" || column === "price_minor" || column === "popularity";
  const parts: (Part | false)[] = [several && indexed && "category_id", both && "active"];
  return parts.filter((part) => part !== false);
}

/**
 * A list of several categories, or of sold and deleted products, is merged of the first rows of each, so that it
 * costs as many pages as it has parts. PostgreSQL would sort all of them.
 */
function mergedText(page: PageParts, parts: readonly Part[], lists: Record<Part, string>): string {
  const from = parts.map((part) => `${lists[part]} as of_${part} (wanted)`).join(" cross join ");
  const own = parts.map((part) => `${part} = of_${part}.wanted`).join(" and ");
  return `
    select product.* from ${from} cross join lateral (
      ${pageText({ ...page, where: `${own} and ${page.where}` })}
    ) as product ${page.tail}`;
}
