import { type Database, prepared } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { invalidField } from "../../kernel/errors.ts";
import {
  type Cursor,
  type Page,
  type PageRequest,
  type PageTokens,
  resolvePageSize,
} from "../../kernel/page.ts";
import type { ShopSize } from "../search/popular-stats.ts";
import { readRelevant } from "../search/relevance.ts";
import { readSearched } from "../search/sorted-search.ts";
import { applyCorrections, correctTerms, LITTLE, noteCorrections } from "../search/spelling.ts";
import { correctedQuery, isUnknown, readTerms, searchOf, type Term } from "../search/terms.ts";
import { countProducts, type TotalMode } from "./product-count.ts";
import { countFacets, type Facet, type ProductFacets } from "./product-facet.ts";
import { type PageSpec, pageStatement } from "./product-page.ts";
import {
  fromRow,
  type ProductFilter,
  type ProductRow,
  type ProductScope,
  type ProductView,
  readColumns,
} from "./product-query.ts";
import { BY_ID, type ProductSort, parseSort, sortColumns, sortValues } from "./product-sort.ts";

/** A list of products, asked for. */
export interface ProductListRequest extends PageRequest, ProductFilter {
  orderBy: string;
  readMask: readonly string[];
  total: TotalMode;
  facets: readonly Facet[];
}

/** A page of products. */
export interface ProductList extends Page<ProductView> {
  /** How many there are over all pages, when that was asked for. */
  total: number;
  facets: ProductFacets | undefined;
  /** What was searched for instead; empty when that is the query itself. */
  correctedQuery: string;
}

// The tree has 8 levels at most.
const BELOW = prepared(`
  with recursive below (id, depth) as (
    select $1::uuid, 1
    union all
    select category.id, depth + 1 from category join below on parent_id = below.id where depth < 8
  )
  select id from below`);

/** What lists are made from. */
export interface ListSources {
  db: Database;
  tokens: PageTokens;
  readShopSize(call: Call): Promise<ShopSize>;
}

/** A page of products, with what the request wants counted. */
export async function listProducts(
  { db, tokens, readShopSize }: ListSources,
  call: Call,
  request: ProductListRequest,
): Promise<ProductList> {
  const { pageToken, pageSize: asked, readMask, total, facets, orderBy, ...filter } = request;
  assertRanges(filter);
  const order = parseSort(orderBy, filter.query !== "");
  const columns = readColumns(readMask);
  const query = { list: "products", filter, order };
  const size = resolvePageSize(asked);
  const cursor = tokens.readCursor(pageToken, query);
  const [categoryIds, typed] = await Promise.all([
    readBranch(db, call, filter.categoryId),
    readTerms(db, call, filter.query),
  ]);
  const scopeOf = (terms: readonly Term[]): ProductScope => ({
    ...filter,
    categoryIds,
    search: terms.length === 0 ? undefined : searchOf(terms),
  });
  const begun = resume(order, typed, cursor);
  let terms = await applyCorrections(db, call, typed, begun.note);
  const find = async (terms: readonly Term[]): Promise<ProductRow[]> => {
    // What nothing is called need not be looked for.
    if (terms.some(isUnknown)) return [];
    const page = { columns, size, order: begun.order, after: begun.after };
    return readPage({ db, readShopSize }, call, scopeOf(terms), page);
  };
  let rows = await find(terms);
  // By the page, whatever made it so empty: what is spelled rightly has no corrections.
  if (cursor === undefined && terms.length > 0 && rows.length < LITTLE && rows.length <= size) {
    const corrected = await correctTerms(db, call, terms);
    const more = corrected === undefined ? [] : await find(corrected);
    if (corrected !== undefined && more.length > rows.length) [terms, rows] = [corrected, more];
  }
  const scope = scopeOf(terms);
  const [count, counts] = await Promise.all([
    countProducts(db, call, scope, total),
    countFacets(db, call, scope, facets),
  ]);
  return {
    ...tokens.createPage(rows, size, query, cursorOf(begun.order, terms), fromRow),
    total: count,
    facets: counts,
    correctedQuery: correctedQuery(filter.query, terms),
  };
}

/** The category and those below it; none for all. */
async function readBranch(db: Database, call: Call, categoryId: string): Promise<string[]> {
  if (categoryId === "") return [];
  return (await db.read<{ id: string }>(call, BELOW, [categoryId])).map(({ id }) => id);
}

/** Refuses ranges that nothing can be in, and prices in different currencies. */
function assertRanges({ minPrice, maxPrice, minCreateTime, maxCreateTime }: ProductFilter): void {
  if (minPrice !== undefined && maxPrice !== undefined) {
    if (minPrice.currencyCode !== maxPrice.currencyCode) {
      throw invalidField("max_price.currency_code", "must be the currency of min_price");
    }
    if (minPrice.minorUnits > maxPrice.minorUnits) {
      throw invalidField("max_price", "must not be lower than min_price");
    }
  }
  if (minCreateTime !== undefined && maxCreateTime !== undefined && minCreateTime >= maxCreateTime) {
    throw invalidField("max_create_time", "must be later than min_create_time");
  }
}

/** How a list goes on: in the order of its first page, after its last row, and with the words it noted. */
function resume(
  asked: ProductSort,
  typed: readonly Term[],
  cursor: Cursor | undefined,
): { order: ProductSort; after: Cursor | undefined; note: string } {
  const order = asked.column === "relevance" && typed.length === 0 ? BY_ID : asked;
  if (cursor === undefined) return { order, after: undefined, note: "" };
  const keys = sortColumns(order).length;
  const [note = "", column] = cursor.slice(keys);
  return {
    order: order.column === "relevance" && column === "popularity" ? popular(order) : order,
    after: cursor.slice(0, keys),
    note: String(note),
  };
}

/** The order of a list by relevance of which too much is found to rank it. */
function popular({ descending }: ProductSort): ProductSort {
  return { column: "popularity", type: "smallint", descending };
}

async function readPage(
  { db, readShopSize }: Pick<ListSources, "db" | "readShopSize">,
  call: Call,
  scope: ProductScope,
  page: PageSpec,
): Promise<ProductRow[]> {
  const { search } = scope;
  if (search === undefined) {
    const { statement, values } = pageStatement(scope, page);
    return db.read<ProductRow>(call, statement, values);
  }
  const size = await readShopSize(call);
  return page.order.column === "relevance"
    ? readRelevant(db, call, { scope, search, page, size })
    : readSearched(db, call, { scope, page, size });
}

/** Where a row is in a list, and how a search goes on from there. */
function cursorOf(order: ProductSort, terms: readonly Term[]): (row: ProductRow) => Cursor {
  const note = noteCorrections(terms);
  return (row) => {
    const by = order.column === "relevance" && row.relevance === null ? popular(order) : order;
    return [...sortValues(by, row), ...(terms.length === 0 ? [] : [note, by.column ?? ""])];
  };
}
