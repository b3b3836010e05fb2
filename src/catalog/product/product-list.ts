import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import {
  type Cursor,
  type Page,
  type PageRequest,
  type PageTokens,
  resolvePageSize,
} from "../../kernel/page.ts";
import { readSubtree, resolveCategoryId } from "../category/category-tree.ts";
import { FEW_RESULTS } from "../search/plan.ts";
import {
  correctedQuery,
  hasNoMatch,
  type QueryTerm,
  readTerms,
  toSearchQuery,
} from "../search/query-terms.ts";
import { type SearchOptions, searchProducts } from "../search/search.ts";
import { correctTerms, encodeCorrections, loadCorrections } from "../search/spelling-correction.ts";
import { countProducts, type TotalMode } from "./product-count.ts";
import { countFacets, type Facet, type ProductFacets } from "./product-facets.ts";
import { assertRanges, type ProductFilter, type ResolvedFilter } from "./product-filter.ts";
import { type PageSpec, pageStatement } from "./product-page.ts";
import { type ProductRow, type ProductView, productFromRow, readColumns } from "./product-row.ts";
import { type ProductSort, parseSort, SORT_BY_ID, sortColumns, sortValues } from "./product-sort.ts";

/** A request for a page of products. */
export interface ProductListRequest extends PageRequest, ProductFilter {
  /** Slug of the category, instead of its id; empty for none. */
  categorySlug: string;
  /** Sort order (AIP-132); empty for relevance with a query, and for the id without one. */
  orderBy: string;
  /** Contract names of the fields to return; empty for all. */
  readMask: readonly string[];
  total: TotalMode;
  facets: readonly Facet[];
}

/** A page of products. */
export interface ProductList extends Page<ProductView> {
  /** Number of products over all pages; 0 unless requested. */
  totalSize: number;
  /** Undefined unless requested. */
  facets: ProductFacets | undefined;
  /** The query with its spelling corrected, which was searched instead; empty if it was not corrected. */
  correctedQuery: string;
}

/** Dependencies of lists of products. */
export interface ProductListOptions extends SearchOptions {
  db: Database;
  tokens: PageTokens;
}

/** Returns a page of products. See `Products.list`. */
export async function listProducts(
  options: ProductListOptions,
  call: Call,
  request: ProductListRequest,
): Promise<ProductList> {
  const { db, tokens } = options;
  const {
    pageToken,
    pageSize: requestedSize,
    readMask,
    total,
    facets,
    orderBy,
    categorySlug,
    ...rest
  } = request;
  assertRanges(rest);
  const requestedSort = parseSort(orderBy, rest.query !== "");
  const columns = readColumns(readMask);
  const filter = { ...rest, categoryId: await resolveCategoryId(db, call, request) };
  // The name in the token is `order`, so that the tokens of earlier versions stay valid.
  const query = { list: "products", filter, order: requestedSort };
  const size = resolvePageSize(requestedSize);
  const cursor = tokens.readCursor(pageToken, query);
  const [categoryIds, typedTerms] = await Promise.all([
    readSubtree(db, call, filter.categoryId),
    readTerms(db, call, filter.query),
  ]);
  const { sort, after, corrections } = resume(requestedSort, typedTerms, cursor);
  const page = { columns, size, sort, after };
  const resolve = (terms: readonly QueryTerm[]): ResolvedFilter => ({
    ...filter,
    categoryIds,
    search: toSearchQuery(terms),
  });

  let terms = await loadCorrections(db, call, typedTerms, corrections);
  let rows = await readRows(options, call, terms, resolve(terms), page);
  const isShort = rows.length < FEW_RESULTS && rows.length <= size;
  if (cursor === undefined && isShort) {
    const corrected = await correctTerms(db, call, terms);
    const found = corrected && (await readRows(options, call, corrected, resolve(corrected), page));
    if (corrected && found && found.length > rows.length) [terms, rows] = [corrected, found];
  }
  const resolved = resolve(terms);
  const [totalSize, facetCounts] = await Promise.all([
    countProducts(db, call, resolved, total),
    countFacets(db, call, resolved, facets),
  ]);
  return {
    ...tokens.createPage(rows, size, query, (row) => cursorAfter(row, sort, terms), productFromRow),
    totalSize,
    facets: facetCounts,
    correctedQuery: correctedQuery(filter.query, terms),
  };
}

/** Returns the rows of a page and one more if there is a next page. */
async function readRows(
  options: ProductListOptions,
  call: Call,
  terms: readonly QueryTerm[],
  filter: ResolvedFilter,
  page: PageSpec,
): Promise<ProductRow[]> {
  if (terms.some(hasNoMatch)) return [];
  return filter.search === undefined
    ? options.db.read(call, pageStatement(filter, page))
    : searchProducts(options, call, { filter, query: filter.search, page, terms });
}

/**
 * Returns the cursor after a row: its sort values and, for a search, the spelling corrections and the sort column. A
 * list by relevance continues by popularity if it has too many matches to rank.
 */
function cursorAfter(row: ProductRow, sort: ProductSort, terms: readonly QueryTerm[]): Cursor {
  const isUnranked = sort.column === "relevance" && row.relevance === null;
  const nextSort = isUnranked ? byPopularity(sort) : sort;
  const values = sortValues(nextSort, row);
  return terms.length === 0 ? values : [...values, encodeCorrections(terms), nextSort.column ?? ""];
}

/** Returns the start of a page, its sort order and its corrections from the cursor of the previous page. */
function resume(
  requested: ProductSort,
  terms: readonly QueryTerm[],
  cursor: Cursor | undefined,
): { sort: ProductSort; after: Cursor | undefined; corrections: string } {
  // A query of punctuation alone matches everything, so that nothing can be ranked.
  const sort = requested.column === "relevance" && terms.length === 0 ? SORT_BY_ID : requested;
  if (cursor === undefined) return { sort, after: undefined, corrections: "" };
  const length = sortColumns(sort).length;
  const [corrections = "", column] = cursor.slice(length);
  return {
    sort: sort.column === "relevance" && column === "popularity" ? byPopularity(sort) : sort,
    after: cursor.slice(0, length),
    corrections: String(corrections),
  };
}

function byPopularity({ descending }: ProductSort): ProductSort {
  return { column: "popularity", type: "smallint", descending };
}
