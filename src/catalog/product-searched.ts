import type { Statement } from "../infra/postgres.ts";
import { isAfter, keysOf, sorted } from "./product-order.ts";
import type { PageSpec } from "./product-page.ts";
import { conditions, type ProductScope } from "./product-query.ts";

/** So many of the products that come next in the order are looked at before the text index is asked. */
const NEXT = 1_000;

/**
 * A page of what has some words, in an order of its own. Among the next products of the order a frequent word
 * fills the page. PostgreSQL would go on like that, through the whole table for a word that is rare (it takes
 * the beginning of a word to be in one of 200 rows at least, `DEFAULT_TS_MATCH_SEL`) or only in dear products.
 * Therefore what the text index finds is sorted then.
 */
export function searchedStatement(
  scope: ProductScope,
  { columns, order, after, size }: PageSpec,
): { statement: Statement; values: unknown[] } {
  const { where: filter, values } = conditions(scope);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const begun = after === undefined ? "true" : isAfter(order, after, bind);
  const where = `${filter} and ${begun}`;
  const full = bind(size + 1);
  const keys = keysOf(order);
  const byKeys = sorted(order, ...keys);
  const text = `
    with next as materialized (
      select ${keys} from (
        select * from product where ${walked(scope, order.column)} and ${begun} ${byKeys} limit ${NEXT}
      ) as product where ${where} limit ${full}
    ), found as (
      select * from next where (select count(*) from next) = ${full}
      union all
      select * from (
        select ${keys} from product where (select count(*) from next) < ${full} and ${where} ${UNSORTED}
      ) as rest
      ${byKeys} limit ${full}
    )
    select ${[...new Set([...columns, ...keys])].map((column) => `product.${column}`)}
    from found join product using (id) ${sorted(order, ...keys.map((key) => `product.${key}`))}`;
  return { statement: { text }, values };
}

/** Keeps PostgreSQL from going along the index of an order: what is inside is found first, and sorted outside. */
export const UNSORTED = "offset 0";

/** Which products the index of an order has one after the other: that of names has deleted ones by themselves. */
function walked({ showDeleted }: ProductScope, column: string | undefined): string {
  if (!showDeleted) return "active";
  return column === "name" ? "false" : "true";
}
