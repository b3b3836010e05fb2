import { prepared, type Statement } from "../infra/postgres.ts";
import { invalidField } from "../kernel/errors.ts";
import type { Cursor } from "../kernel/page.ts";
import { ALL_COLUMNS, conditions, type ProductFilter, type ProductRow } from "./product-query.ts";

/** What a list can be ordered by: the column, and its PostgreSQL type for the cursor. */
const ORDERS: Readonly<Record<string, { column: "name" | "price_minor" | "created_at"; type: string }>> = {
  name: { column: "name", type: "text" },
  price: { column: "price_minor", type: "bigint" },
  create_time: { column: "created_at", type: "timestamptz" },
};

/** An order of products; without a column it is that of the ids. */
export interface ProductOrder {
  column: "name" | "price_minor" | "created_at" | undefined;
  type: string;
  descending: boolean;
}

/** Reads `order_by` (AIP-132). INVALID_ARGUMENT that names what there is. */
export function readOrder(orderBy: string): ProductOrder {
  if (orderBy.trim() === "") return { column: undefined, type: "uuid", descending: false };
  const match = /^\s*([a-z_]+)(?:\s+(asc|desc))?\s*$/.exec(orderBy);
  const order = match?.[1] !== undefined && Object.hasOwn(ORDERS, match[1]) ? ORDERS[match[1]] : undefined;
  if (order === undefined) {
    const names = Object.keys(ORDERS).join(", ");
    throw invalidField("order_by", `must be one of ${names}, with " desc" for the other way round`);
  }
  return { ...order, descending: match?.[2] === "desc" };
}

/** Up to so many products that a text query finds are put in order here; in more of them, an index is walked. */
const FEW = 1_000;

/**
 * The statement of one page, by key and not by offset, so that each page costs what the first costs.
 * @param after where the page begins
 * @param size how many rows; one more is read to know whether there is a next page
 */
export function pageStatement(
  columns: readonly (keyof ProductRow)[],
  filter: ProductFilter,
  order: ProductOrder,
  after: Cursor | undefined,
  size: number,
): { statement: Statement; values: unknown[] } {
  const { where, values } = conditions(filter);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const keys = order.column === undefined ? ["id"] : [order.column, "id"];
  const types = order.column === undefined ? ["uuid"] : [order.type, "uuid"];
  const begin = after?.map((value, at) => `${bind(value)}::${types[at]}`).join(", ");
  const page: PageParts = {
    columns: [...new Set([...columns, ...(order.column === undefined ? [] : [order.column])])].join(", "),
    where: begin === undefined ? where : `${where} and (${keys}) ${order.descending ? "<" : ">"} (${begin})`,
    tail: `order by ${keys.map((key) => `${key} ${order.descending ? "desc" : "asc"}`)} limit ${bind(size + 1)}`,
  };
  if (filter.query !== "") return { statement: { text: searchedText(page) }, values };
  const text = filter.showDeleted && order.column === "name" ? mergedText(page) : pageText(page);
  // Each named text stays in each connection: the usual shapes get a name, those of all masks would be too many.
  const usual = columns === ALL_COLUMNS && !filter.showDeleted;
  return { statement: usual ? prepared(text) : { text }, values };
}

interface PageParts {
  columns: string;
  where: string;
  /** The order and the limit. */
  tail: string;
}

function pageText({ columns, where, tail }: PageParts): string {
  return `select ${columns} from product where ${where} ${tail}`;
}

/**
 * The index on names has sold products apart from deleted ones. A list of both is merged from its two halves,
 * where PostgreSQL would sort the whole table.
 */
function mergedText(page: PageParts): string {
  const halves = ["active", "not active"].map(
    (half) => `(${pageText({ ...page, where: `${half} and ${page.where}` })})`,
  );
  return `select * from (${halves.join(" union all ")}) as product ${page.tail}`;
}

/**
 * PostgreSQL takes the beginning of a word to be in one of 200 rows at least (`DEFAULT_TS_MATCH_SEL`), and so
 * would look for a rare one along the index of the order, through the whole table. Therefore what the text
 * index finds comes first; only when that is a lot, and each page soon full, the order's index is walked.
 */
function searchedText(page: PageParts): string {
  const { columns, where, tail } = page;
  const walk = pageText({ ...page, where: `(select count(*) from few) > ${FEW} and ${where}` });
  return `
    with few as materialized (select ${columns} from product where ${where} limit ${FEW + 1})
    select * from (
      select * from few where (select count(*) from few) <= ${FEW}
      union all
      (${walk})
    ) as product ${tail}`;
}

/** The cursor of a row in an order. */
export function cursorOf(order: ProductOrder): (row: ProductRow) => Cursor {
  const { column } = order;
  return (row) => (column === undefined ? [row.id] : [row[column] ?? "", row.id]);
}
