/**
 * Chooses the strategy by which a search reads its page.
 *
 * The text index (GIN) collects all matches before the first one can be returned. That is fast for rare words and slow
 * for frequent ones, whose page is filled sooner by scanning the sort order and testing one product after the other.
 * PostgreSQL cannot choose, since it lacks statistics for the frequency of a prefix. A search therefore starts with the
 * strategy for frequent words, and falls back to the text index if that did not fill the page:
 *
 * | sort order | first strategy                      | if the page is likely filled | otherwise        |
 * |------------|-------------------------------------|------------------------------|------------------|
 * | relevance  | `popular-products` (in large shops) | the same, more products      | `ranked-matches` |
 * | any other  | `sort-order-scan`                   | the same, more products      | `sorted-matches` |
 *
 * A scan by price or name covers the range of the query's frequent words only (`sort-range.ts`): laptops sorted by price
 * begin after all cheaper products.
 *
 * This file contains the choice and all of its thresholds; `search.ts` executes the strategies, and `strategy-statement.ts`
 * contains their SQL.
 */

/**
 * Tests the most popular products of the shop: those of a partial text index, then the `scan` products that follow
 * in popularity. It returns nothing when the sample shows that few products match: those are to be ranked.
 *
 * Chosen for the first page by relevance of a large shop. More than `MAX_RANKED` matches are sorted by popularity
 * anyway, and the most popular ones are found here without reading the others.
 */
export interface PopularProducts {
  kind: "popular-products";
  /** Popularity (exclusive) above which the partial text index contains the products. */
  above: number;
  /** Number of products to test after those of the partial index. */
  scan: number;
}

/**
 * Tests the next `scan` products of the sort order, by the index of that order.
 *
 * Chosen for any sort order but relevance, if an index has it: frequent words fill the page immediately.
 */
export interface SortOrderScan {
  kind: "sort-order-scan";
  /** Number of products to test. */
  scan: number;
}

/**
 * Reads all matches from the text index and ranks them by relevance. More than `MAX_RANKED` matches are sorted by
 * popularity instead.
 *
 * Chosen by relevance when the popular products did not fill the page, and for the later pages of a ranked list.
 */
export interface RankedMatches {
  kind: "ranked-matches";
  /** Whether any number of matches is ranked: a list stays ranked although products are added between its pages. */
  rankAll: boolean;
}

/**
 * Reads all matches from the text index and sorts them.
 *
 * Chosen for any sort order but relevance when the scan did not fill the page, or no index has the order.
 */
export interface SortedMatches {
  kind: "sorted-matches";
}

/** The way in which a statement reads a page of a search. */
export type SearchStrategy = PopularProducts | SortOrderScan | RankedMatches | SortedMatches;

/**
 * The method by which one statement tests whether products match the query:
 * - `index`: by the text index, planned for the indexed words of the query. Chosen for unusual combinations of filters.
 * - `prepared`: by the text index, with the words hidden from the planner, so that one plan serves all queries.
 *   Chosen for the usual combinations of filters: planning each time costs more than most searches.
 * - `filter`: product by product, without the text index. Chosen when few products are in the range of the filter.
 * - `estimate`: by an index of the planner's choice, for counts. Without the words of the brand, which would distort
 *   estimates.
 */
export type MatchMethod = "index" | "prepared" | "filter" | "estimate";

/** The size of the shop. */
export interface ShopSize {
  /** Estimated number of products. */
  products: number;
  /** The largest partial text index of popular products within `SCAN_SHARE`: the popularity above which it starts. */
  popular: { above: number; products: number };
}

/** Input of the choice of a strategy. */
export interface PlanInput {
  /** Whether the list is sorted by relevance. */
  byRelevance: boolean;
  descending: boolean;
  isFirstPage: boolean;
  /** Whether an index has the products of the list in its sort order. */
  hasSortIndex: boolean;
  /** Whether products next to each other in the sort order were also created one after the other. */
  isClustered: boolean;
  /** Number of rows to read: the page size plus one. */
  rows: number;
  shop: ShopSize;
}

// The times below are the best of nine runs in a shop of 100,000 products, on 2 cores.

/**
 * Number of products that a scan tests first: 0.6 to 1.5 ms. They fill a page of 20 for a word that 1 product in 50
 * has.
 */
export const INITIAL_SCAN_ROWS = 1_000;
/**
 * Maximum number of products that a scan tests: 26 ms by price, where the text index and the sort take 13 ms for a word
 * of 5,400 products and 22 ms for one of 10,700. Also the number of products in a range that are tested without the
 * text index: 3 ms.
 */
export const MAX_SCAN_ROWS = 6_000;
/**
 * The same where products next to each other in the sort order are also next to each other in the table: 18 to 24 ms.
 * (With 6,000, one in ten searches for two words took 53 instead of 16 ms in a shop of 1,000,000 products.)
 */
export const MAX_CLUSTERED_SCAN_ROWS = 16_000;
/**
 * Maximum share of the shop that a scan tests: in a small shop few products match, and the text index is faster. A
 * shop is large when this share is two first scans, from 100,000 products on. (With 0.01, searches by price or name
 * took 8% longer.)
 */
export const SCAN_SHARE = 0.02;
/** Maximum number of matches that are ranked: 7 ms; 2,000 take 11 ms, 5,000 take 23 ms. */
export const MAX_RANKED = 1_000;
/**
 * Number of matches in the sample, one product in 128, that shows that more than `MAX_RANKED` products match. Of 1,000
 * matches 8 are expected in the sample, and 19 occur once in 2,000 searches.
 */
export const MIN_SAMPLE_MATCHES = 19;
/**
 * Maximum number of indexed words that a prefix is expanded to. With a word of 10,700 products, the text index takes 22
 * ms for 16 words and 125 ms for 64, since it collects all products of each word. A prefix of more words is tested on
 * the matches of the other terms: 24 ms.
 */
export const MAX_PREFIX_WORDS = 16;
/**
 * Minimum length of a term with digits that is considered selective. Indexed words end at their first digit, so the
 * number of indexed words is no estimate for them.
 */
export const MIN_NUMBER_LENGTH = 3;
/** Maximum number of categories in a query of the text index. A word in more category names matches no category. */
export const MAX_CATEGORIES = 50;
/** Number of products below which the query of a first page is corrected if one of its words looks misspelled. */
export const FEW_RESULTS = 3;

/** Returns the strategy to start with. */
export function firstStrategy({
  byRelevance,
  descending,
  isFirstPage,
  hasSortIndex,
  shop,
}: PlanInput): SearchStrategy {
  if (!byRelevance) {
    return hasSortIndex ? { kind: "sort-order-scan", scan: INITIAL_SCAN_ROWS } : { kind: "sorted-matches" };
  }
  if (!isFirstPage) return { kind: "ranked-matches", rankAll: true };
  const isLarge = shop.products * SCAN_SHARE >= 2 * INITIAL_SCAN_ROWS;
  return isLarge && descending
    ? {
        kind: "popular-products",
        above: shop.popular.above,
        scan: Math.max(0, INITIAL_SCAN_ROWS - shop.popular.products),
      }
    : { kind: "ranked-matches", rankAll: false };
}

/**
 * Returns the strategy that follows one that did not fill the page; undefined if that one has found all matches.
 * @param found rows that it returned
 */
export function nextStrategy(
  strategy: SearchStrategy,
  found: number,
  { isClustered, rows, shop }: PlanInput,
): SearchStrategy | undefined {
  const share = Math.floor(shop.products * SCAN_SHARE);
  switch (strategy.kind) {
    case "popular-products": {
      // Without the sold products, the order of popularity is that of creation.
      const scan = Math.min(maxScanRows(strategy.above === 0), share - shop.popular.products);
      const tested = shop.popular.products + strategy.scan;
      return isLikelyFull(found, tested, shop.popular.products + scan, rows)
        ? { ...strategy, scan }
        : { kind: "ranked-matches", rankAll: false };
    }
    case "sort-order-scan": {
      const scan = Math.min(maxScanRows(isClustered), share);
      return isLikelyFull(found, strategy.scan, scan, rows)
        ? { ...strategy, scan }
        : { kind: "sorted-matches" };
    }
    default:
      return undefined;
  }
}

function maxScanRows(isClustered: boolean): number {
  return isClustered ? MAX_CLUSTERED_SCAN_ROWS : MAX_SCAN_ROWS;
}

/** Returns whether a longer scan likely fills the page, extrapolated from the rows that the first one found. */
function isLikelyFull(found: number, tested: number, testedNext: number, rows: number): boolean {
  return (found * testedNext) / tested >= rows;
}

/**
 * Returns the method by which a statement tests whether products match.
 * @param isUsual whether the statement is one of a few, which can stay prepared in each connection
 * @param productsInRange products in the price and time range of the filter; undefined without a range, and for
 *   scans, which never use the text index of all products
 */
export function matchMethod(isUsual: boolean, productsInRange?: number): MatchMethod {
  if (productsInRange !== undefined && productsInRange <= MAX_SCAN_ROWS) return "filter";
  return isUsual ? "prepared" : "index";
}
