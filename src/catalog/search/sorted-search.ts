import type { Database, TextStatement } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { PageSpec } from "../product/product-page.ts";
import {
  bestWording,
  conditions,
  type ProductRow,
  type ProductScope,
  planned,
  type Wording,
  wordingOf,
} from "../product/product-query.ts";
import { isAfter, sortColumns, sorted } from "../product/product-sort.ts";
import type { ShopSize } from "./popular-stats.ts";

/** So many of the products that come next in the order are looked at before the text index is asked. */
const NEXT = 1_000;
/** And so many when those before had some, but not enough: sooner done than all matches are collected and sorted. */
const MORE = 6_000;
/** Where neighbours in the order lie side by side in the table, because they came one after the other. */
const MORE_BESIDE = 16_000;
const BESIDE: ReadonlySet<string | undefined> = new Set([
  undefined,
  "created_at",
  "popularity",
  "rating_average",
]);
/** Never more of the shop than this: where all are few, the text index collects few. */
const SMALL_SHARE = 0.02;
/** A page is likely filled when so many times as many products are expected. */
const MARGIN = 1.3;

/**
 * A page of what has some words, in an order of its own. Among the next products of the order a frequent word
 * fills the page. PostgreSQL would go on like that, through the whole table for a word that is rare (it takes
 * the beginning of a word to be in one of 200 rows at least, `DEFAULT_TS_MATCH_SEL`) or only in dear products.
 * Therefore what the text index finds is sorted then.
 */
export async function readSearched(
  db: Database,
  call: Call,
  { scope, page, size }: { scope: ProductScope; page: PageSpec; size: ShopSize },
): Promise<ProductRow[]> {
  const full = page.size + 1;
  const walk = walkStatement(scope, page);
  if (walk !== undefined) {
    const next = await db.read<ProductRow>(call, walk.statement, [...walk.values, NEXT]);
    if (next.length === full) return next;
    const more = BESIDE.has(page.order.column) ? MORE_BESIDE : MORE;
    const most = Math.min(more, Math.floor(size.products * SMALL_SHARE));
    if (isHopeful(next.length, NEXT, most, full)) {
      const more = await db.read<ProductRow>(call, walk.statement, [...walk.values, most]);
      if (more.length === full) return more;
    }
  }
  const wording = await bestWording(db, call, scope, page.columns);
  const { statement, values } = sortedStatement(scope, page, wording);
  return db.read<ProductRow>(call, statement, values);
}

/** Whether a page is likely filled among `more` products of an order, when the first of them were not enough. */
export function isHopeful(found: number, looked: number, more: number, full: number): boolean {
  return (found * more) / looked >= MARGIN * full;
}

/** What matches among the next products of the order; the last value says among how many. */
function walkStatement(
  scope: ProductScope,
  { columns, order, after, size }: PageSpec,
): { statement: TextStatement; values: unknown[] } | undefined {
  const next = walked(scope, order.column);
  if (next === undefined) return undefined;
  const wording = wordingOf(scope, columns);
  const { where, values } = conditions(scope, wording);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const begun = after === undefined ? "true" : isAfter(order, after, bind);
  const keys = sortColumns(order);
  const selected = [...new Set([...columns, ...keys])].join(", ");
  const byKeys = sorted(order, ...keys);
  const full = bind(size + 1);
  const text = `
    select ${selected} from (
      select * from product where ${next} and ${begun} ${byKeys} limit $${values.length + 1}
    ) as product where ${where} ${byKeys} limit ${full}`;
  return { statement: planned(text, wording), values };
}

/** Which products the index of an order has one after the other: that of names has deleted ones by themselves. */
function walked({ showDeleted }: ProductScope, column: string | undefined): string | undefined {
  if (!showDeleted) return "active";
  return column === "name" ? undefined : "true";
}

/** All that matches, sorted. */
function sortedStatement(
  scope: ProductScope,
  { columns, order, after, size }: PageSpec,
  wording: Wording,
): { statement: TextStatement; values: unknown[] } {
  const { where, values } = conditions(scope, wording);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const begun = after === undefined ? "true" : isAfter(order, after, bind);
  const keys = sortColumns(order);
  const text = `
    select ${[...new Set([...columns, ...keys])].map((column) => `product.${column}`)}
    from (
      select * from (select ${keys} from product where ${where} and ${begun} ${UNSORTED}) as product
      ${sorted(order, ...keys)} limit ${bind(size + 1)}
    ) as found join product using (id) ${sorted(order, ...keys.map((key) => `product.${key}`))}`;
  return { statement: planned(text, wording), values };
}

/** Keeps PostgreSQL from going along the index of an order: what is inside is found first, and sorted outside. */
export const UNSORTED = "offset 0";
