import { type RawBuilder, sql } from "kysely";
import { keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import { allOf, prepareDynamic, type Statement } from "../../infra/postgres/statement.ts";
import { IS_SAMPLED } from "../product/product.entity.ts";
import { filterCondition, type ResolvedFilter } from "../product/product-filter.ts";
import { type PageSpec, pageColumns } from "../product/product-page.ts";
import { type ProductRow, selectList } from "../product/product-row.ts";
import { toKeyset } from "../product/product-sort.ts";
import {
  MAX_RANKED,
  type MatchMethod,
  MIN_SAMPLE_MATCHES,
  type PopularProducts,
  type RankedMatches,
  type SearchStrategy,
  type SortOrderScan,
} from "./plan.ts";
import type { SearchQuery } from "./query-terms.ts";
import type { SortRange } from "./sort-range.ts";

/** A page of a search to be read. */
export interface PageSearch {
  filter: ResolvedFilter;
  query: SearchQuery;
  page: PageSpec;
  /** A range of the sort column that contains all matches; undefined if none is known. */
  range: SortRange | undefined;
}

/** Returns the statement of a strategy: the rows of the page and one more, if it finds that many. */
export function strategyStatement(
  strategy: SearchStrategy,
  search: PageSearch,
  method: MatchMethod,
): Statement<ProductRow> {
  const statement = buildStatement(strategy, search, filterCondition(search.filter, method));
  return method === "prepared" ? prepareDynamic(statement) : statement;
}

function buildStatement(
  strategy: SearchStrategy,
  search: PageSearch,
  isMatch: RawBuilder<boolean>,
): RawBuilder<ProductRow> {
  switch (strategy.kind) {
    case "popular-products":
      return popularProducts(strategy, search, isMatch);
    case "sort-order-scan":
      return sortOrderScan(strategy, search, isMatch);
    case "ranked-matches":
      return rankedMatches(strategy, search, isMatch);
    case "sorted-matches":
      return sortedMatches(search, isMatch);
  }
}

/** Selects null as the relevance, which means that the next page continues by popularity. */
function popularProducts(
  { above, scan }: PopularProducts,
  { page }: PageSearch,
  isMatch: RawBuilder<boolean>,
): RawBuilder<ProductRow> {
  const byPopularity = keysetOrder(popularityKeyset(page));
  const rows = page.size + 1;
  // Literals, since a partial index is used only for a condition whose values the planner sees.
  const [popularity, many] = [sql.lit(above), sql.lit(MIN_SAMPLE_MATCHES)];
  return sql`
    with sampled as materialized (
      select from product where ${sql.raw(IS_SAMPLED)} and ${isMatch} limit ${many}
    ), enough as materialized (
      select count(*) = ${many} as matches from sampled
    ), popular as materialized (
      select id, popularity from product
      where (select matches from enough) and popularity > ${popularity} and ${isMatch} ${byPopularity} limit ${rows}
    ), next as (
      select id, popularity from (
        select * from product where popularity <= ${popularity} ${byPopularity} limit ${scan}
      ) as product
      where (select matches from enough) and ${isMatch} limit ${rows} - (select count(*) from popular)
    )
    select ${selectList([...page.columns, "popularity"])}, null as relevance
    from (select id from popular union all select id from next) as match join product using (id)
    ${byPopularity}`;
}

function sortOrderScan(
  { scan }: SortOrderScan,
  { filter, page, range }: PageSearch,
  isMatch: RawBuilder<boolean>,
): RawBuilder<ProductRow> {
  const keyset = toKeyset(page.sort);
  const isInRange = range && sql`${sql.ref(range.column)} between ${range.low} and ${range.high}`;
  const isNext = allOf([
    filter.showDeleted ? undefined : sql`active`,
    isInRange,
    keysetCondition(keyset, page.after),
  ]);
  return sql`
    select ${selectList(pageColumns(page))} from (
      select * from product where ${isNext} ${keysetOrder(keyset)} limit ${scan}
    ) as product where ${isMatch} ${keysetOrder(keyset)} limit ${page.size + 1}`;
}

function rankedMatches(
  { rankAll }: RankedMatches,
  { query, page }: PageSearch,
  isMatch: RawBuilder<boolean>,
): RawBuilder<ProductRow> {
  const isRanked = rankAll ? sql`true` : sql`(select matches <= ${sql.lit(MAX_RANKED)} from total)`;
  const isNext = allOf([keysetCondition(toKeyset(page.sort), page.after)]);
  const relevance = { name: "relevance", type: "bigint" };
  const { columns, descending } = popularityKeyset(page);
  const byRelevance = keysetOrder({ columns: [relevance, ...columns], descending });
  // The lateral join with a limit is a lookup by primary key for each match; the planner would hash the whole table.
  return sql`
    with found as materialized (
      select id, popularity from product where ${isMatch}
    ), total as materialized (
      select count(*) as matches from found
    )
    select ${selectList([...page.columns, "popularity"])}, relevance from (
      select * from (
        select id, popularity, ${relevanceOf(query)} as relevance
        from found cross join lateral (select search from product where product.id = found.id limit 1) as document
        where ${isRanked}
        union all
        select id, popularity, null from found where not ${isRanked}
      ) as match where ${isNext} ${byRelevance} limit ${page.size + 1}
    ) as match join product using (id) ${byRelevance}`;
}

/** `offset 0` keeps the planner from scanning the index of the sort order: matches are found first, then sorted. */
function sortedMatches({ page }: PageSearch, isMatch: RawBuilder<boolean>): RawBuilder<ProductRow> {
  const keyset = toKeyset(page.sort);
  const keys = sql.raw(keyset.columns.map(({ name }) => name).join(", "));
  const isNext = allOf([isMatch, keysetCondition(keyset, page.after)]);
  return sql`
    select ${selectList(pageColumns(page))} from (
      select id from (select ${keys} from product where ${isNext} offset 0) as product
      ${keysetOrder(keyset)} limit ${page.size + 1}
    ) as match join product using (id) ${keysetOrder(keyset)}`;
}

function popularityKeyset({ sort }: PageSpec) {
  return toKeyset({ column: "popularity", type: "smallint", descending: sort.descending });
}

/**
 * Returns the relevance of a product as one integer, which a page token holds exactly: its text rank, where whole
 * words count three times as much as prefixes; then its popularity, which is less than 500.
 */
function relevanceOf({ wholeWords, prefixes }: SearchQuery): RawBuilder<string> {
  const rank = sql`2 * ts_rank(search, ${wholeWords}::tsquery) + ts_rank(search, ${prefixes}::tsquery)`;
  return sql`round(1000 * (${rank}))::bigint * 1000 + popularity`;
}
