import type { Database, TextStatement } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { IS_SAMPLED } from "../product/product.entity.ts";
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
import { isAfter, sorted } from "../product/product-sort.ts";
import { LARGE, MANY_OF_SAMPLE, type ShopSize } from "./popular-stats.ts";
import { isHopeful, UNSORTED } from "./sorted-search.ts";
import type { Search } from "./terms.ts";

/** So many matches are ranked by how well they fit. Of more, the most popular come first: all fit well enough. */
const RANKED = 1_000;
/** Later pages of a ranked list rank what has come meanwhile too, up to so many. */
const RANKED_LATER = 10 * RANKED;
/** Up to so many are kept in memory, so that the text index is asked once. */
const SORTED = 20_000;
/**
 * A first page is looked for among this share of a large shop, the most popular products, before the text index
 * of all is asked, which would collect all matches. That many match is seen in a sample.
 */
const TOP_SHARE = 0.02;
/** So many of the most popular are looked at first: by a text index of their own, as far as they have one. */
const FIRST = 1_000;
/**
 * And so many more one by one when that is likely to be enough, sooner than the text index of all collects
 * 5,000 matches. Those that were never sold lie side by side, as they came.
 */
const MORE = { sold: 6_000, unsold: 16_000 };

type Asked = { statement: TextStatement; values: unknown[] };

/** A page in the order of relevance: the first one, or a later one of a list that is ranked. */
export async function readRelevant(
  db: Database,
  call: Call,
  { scope, search, page, size }: { scope: ProductScope; search: Search; page: PageSpec; size: ShopSize },
): Promise<ProductRow[]> {
  const read = ({ statement, values }: Asked, ...more: unknown[]) =>
    db.read<ProductRow>(call, statement, [...values, ...more]);
  if (page.after !== undefined) return read(laterStatement(scope, search, page, page.after));
  const most = Math.floor(size.products * TOP_SHARE) - size.sold.products;
  if (size.products >= LARGE && page.order.descending) {
    const full = page.size + 1;
    const top = topStatement(scope, page, size, full);
    const first = Math.max(0, FIRST - size.sold.products);
    const found = await read(top, first);
    if (found.length === full) return found;
    const more = Math.min(first + (size.sold.above === 0 ? MORE.unsold : MORE.sold), most);
    if (isHopeful(found.length, size.sold.products + first, size.sold.products + more, full)) {
      const found = await read(top, more);
      if (found.length === full) return found;
    }
  }
  return read(firstStatement(scope, search, page, await bestWording(db, call, scope, page.columns)));
}

/**
 * What matches among the best-selling products, and among those that come next in popularity; the last value
 * says among how many. Nothing, when few in the sample match: they may be all that there are, and are ranked.
 * Rows that are not ranked have no relevance, which tells how the list goes on.
 */
function topStatement(
  scope: ProductScope,
  { columns, order }: PageSpec,
  { sold: { above } }: ShopSize,
  full: number,
): Asked {
  const wording = wordingOf(scope, columns);
  const { where, values } = conditions(scope, wording);
  const limit = `$${values.push(full)}`;
  const byPopularity = sorted(order, "popularity", "id");
  const text = `
    with met as materialized (
      select from product where ${IS_SAMPLED} and ${where} limit ${MANY_OF_SAMPLE}
    ), many as materialized (select count(*) = ${MANY_OF_SAMPLE} as are from met), sold as materialized (
      select id, popularity from product
      where (select are from many) and popularity > ${above} and ${where} ${byPopularity} limit ${limit}
    ), next as (
      select id, popularity from (
        select * from product where popularity <= ${above} ${byPopularity} limit $${values.length + 1}
      ) as product
      where (select are from many) and ${where} limit ${limit} - (select count(*) from sold)
    )
    select ${selectedOf(columns)}, null as relevance
    from (select * from sold union all select * from next) as found join product using (id)
    ${sorted(order, "found.popularity", "id")}`;
  return { statement: planned(text, wording), values };
}

/** A first page of what the text index finds: ranked, or by popularity when there is much of it. */
function firstStatement(
  scope: ProductScope,
  search: Search,
  { columns, order, size }: PageSpec,
  wording: Wording,
): Asked {
  const { where, values } = conditions(scope, wording);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const relevance = relevanceText(search, bind);
  const limit = bind(size + 1);
  const byPopularity = sorted(order, "popularity", "id");
  const text = `
    with few as materialized (
      select id, popularity from product where ${where} limit ${SORTED + 1}
    ), size as materialized (select count(*) as few from few)
    select ${selectedOf(columns)}, relevance from (
      select * from (
        select few.id, popularity, ${relevance} as relevance
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
      ) as product ${sorted(order, "relevance", "popularity", "id")} limit ${limit}
    ) as found join product using (id)
    ${sorted(order, "relevance", "found.popularity", "id")}`;
  return { statement: planned(text, wording), values };
}

/** A later page of a list that is ranked. */
function laterStatement(
  scope: ProductScope,
  search: Search,
  { columns, order, size }: PageSpec,
  after: NonNullable<PageSpec["after"]>,
): Asked {
  const wording = wordingOf(scope, columns);
  const { where, values } = conditions(scope, wording);
  const bind = (value: unknown) => `$${values.push(value)}`;
  const relevance = relevanceText(search, bind);
  const text = `
    select ${selectedOf(columns)}, relevance from (
      select * from (
        select id, popularity, ${relevance} as relevance
        from (select * from product where ${where} limit ${RANKED_LATER}) as product
      ) as product where ${isAfter(order, after, bind)} ${sorted(order, "relevance", "id")} limit ${bind(size + 1)}
    ) as found join product using (id)
    ${sorted(order, "relevance", "found.popularity", "id")}`;
  return { statement: planned(text, wording), values };
}

function selectedOf(columns: PageSpec["columns"]): string {
  return [...new Set([...columns, "popularity"])].map((column) => `product.${column}`).join(", ");
}

/**
 * How well a product fits the words, whole words counting thrice what beginnings do, and among equals how
 * popular it is (less than 500): one whole number, which a page token holds exactly.
 */
function relevanceText({ exact, loose }: Search, bind: (value: unknown) => string): string {
  const rank = `2 * ts_rank(search, ${bind(exact)}::tsquery) + ts_rank(search, ${bind(loose)}::tsquery)`;
  return `round(1000 * (${rank}))::bigint * 1000 + popularity`;
}
