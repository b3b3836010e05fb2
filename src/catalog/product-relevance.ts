import type { Statement } from "../infra/postgres.ts";
import { isAfter, type ProductOrder, sorted } from "./product-order.ts";
import type { PageSpec } from "./product-page.ts";
import { conditions, type ProductScope } from "./product-query.ts";
import type { Search } from "./product-search.ts";
import { UNSORTED } from "./product-searched.ts";

/** So many matches are ranked by how well they fit. Of more, the most popular come first: all fit well enough. */
const RANKED = 1_000;
/** Later pages of a ranked list rank what has come meanwhile too, up to so many. */
const RANKED_LATER = 10 * RANKED;
/** Up to so many are kept in memory, so that the text index is asked once. */
const SORTED = 20_000;
/**
 * Among so many of the most popular products a first page is looked for, before the text index is asked, which
 * would collect all matches. Where it is found, more than `RANKED` match: 21 of 1,000 are 2,100 of 100,000.
 */
const TOP = { products: 1_000, shop: 100_000 };
const FULL = 21;
/** When so many are there, 21 are likely among more, and found sooner than the text index collects 5,000 matches. */
const HOPE = 5;
const MORE = { products: 6_000, shop: 500_000 };

/** A page in the order of relevance: the first one, or a later one of a list that is ranked. */
export function relevanceStatement(
  scope: ProductScope,
  search: Search,
  { columns, order, after, size }: PageSpec,
): { statement: Statement; values: unknown[] } {
  const { where, values } = conditions(scope);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const parts = { where, order, relevance: relevanceText(search, bind), limit: bind(size + 1) };
  const found =
    after === undefined
      ? firstText({ ...parts, full: Math.max(size + 1, FULL) })
      : laterText({ ...parts, after: isAfter(order, after, bind) });
  const selected = [...new Set([...columns, "popularity"])].map((column) => `product.${column}`).join(", ");
  const text = `
    select ${selected}, relevance from (${found}) as found join product using (id)
    ${sorted(order, "relevance", "found.popularity", "id")}`;
  return { statement: { text }, values };
}

/**
 * How well a product fits the words, whole words counting thrice what beginnings do, and among equals how
 * popular it is (less than 500): one whole number, which a page token holds exactly.
 */
function relevanceText({ exact, loose }: Search, bind: (value: unknown) => string): string {
  const rank = `2 * ts_rank(search, ${bind(exact)}::tsquery) + ts_rank(search, ${bind(loose)}::tsquery)`;
  return `round(1000 * (${rank}))::bigint * 1000 + popularity`;
}

interface Parts {
  where: string;
  order: ProductOrder;
  relevance: string;
  limit: string;
}

/**
 * The first page: found among the most popular, or ranked, or by popularity. Rows that are not ranked have no
 * relevance, which tells how the list goes on.
 */
function firstText({ where, order, relevance, limit, full }: Parts & { full: number }): string {
  const byPopularity = sorted(order, "popularity", "id");
  const among = ({ products, shop }: typeof TOP, condition: string) => `
    select id, popularity from (
      select * from product
      where (select reltuples from pg_class where oid = 'product'::regclass) >= ${shop} and ${condition}
      ${byPopularity} limit ${products}
    ) as product where ${where} limit ${full}`;
  return `
    with some_top as materialized (
      ${among(TOP, "true")}
    ), more as materialized (
      ${among(MORE, `(select count(*) from some_top) between ${HOPE} and ${full - 1}`)}
    ), top as materialized (
      select * from some_top where (select count(*) from some_top) = ${full}
      union all
      select * from more where (select count(*) from more) = ${full}
    ), few as materialized (
      select id, popularity from product
      where (select count(*) from top) < ${full} and ${where} limit ${SORTED + 1}
    ), size as materialized (select count(*) as few from few)
    select * from (
      select id, popularity, null as relevance from top where (select count(*) from top) = ${full}
      union all
      select few.id, popularity, ${relevance}
      from few cross join lateral (select search from product where product.id = few.id limit 1) as words
      where (select few from size) <= ${RANKED}
      union all
      select id, popularity, null from few where (select few from size) between ${RANKED + 1} and ${SORTED}
      union all
      (
        select * from (
          select id, popularity, null::bigint from product where (select few from size) > ${SORTED} and ${where} ${UNSORTED}
        ) as product ${byPopularity} limit ${limit}
      )
    ) as product ${sorted(order, "relevance", "popularity", "id")} limit ${limit}`;
}

/** A later page of a list that is ranked. */
function laterText({ where, order, relevance, limit, after }: Parts & { after: string }): string {
  return `
    select * from (
      select id, popularity, ${relevance} as relevance
      from (select * from product where ${where} limit ${RANKED_LATER}) as product
    ) as product where ${after} ${sorted(order, "relevance", "id")} limit ${limit}`;
}
