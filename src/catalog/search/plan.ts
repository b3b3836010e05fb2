/**
 * Decides how a search reads its page.
 *
 * A text index (GIN) returns all matches before the first row can be sorted. That is fast for rare words and slow
 * for frequent ones, whose page is found sooner by walking the sort order and testing one product after the other.
 * PostgreSQL cannot tell the two apart, since it does not know how often a prefix occurs. A search therefore starts
 * with the strategy that is cheap for frequent words, and falls back to the text index when that did not fill the
 * page:
 *
 * | sort order | first                            | if nearly enough     | otherwise        |
 * |------------|----------------------------------|----------------------|------------------|
 * | relevance  | `popular-products` in large shops | the same, more products | `ranked-matches` |
 * | any other  | `sort-order-scan`                | the same, more products | `sorted-matches` |
 *
 * This file holds every threshold of the search, each beside the measurement that chose it, and only decides:
 * `search.ts` executes the strategies, `strategy-statement.ts` has their SQL.
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
  /** Popularity above which the partial text index has the products. */
  above: number;
  scan: number;
}

/**
 * Tests the next `scan` products of the sort order, by the index of that order.
 *
 * Chosen for any sort order but relevance, if an index has it: frequent words fill the page at once.
 */
export interface SortOrderScan {
  kind: "sort-order-scan";
  scan: number;
}

/**
 * Reads all matches from the text index and ranks them by how well they match. If there are more than `MAX_RANKED`,
 * all match well enough, and they are sorted by popularity.
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

export type SearchStrategy = PopularProducts | SortOrderScan | RankedMatches | SortedMatches;

/**
 * How one statement tests whether products match the query:
 * - `index`: by the text index, planned for the words at hand. Chosen for unusual combinations of filters.
 * - `prepared`: by the text index, with the words hidden from the planner, so that one plan serves all queries.
 *   Chosen for the usual combinations of filters: planning each time costs more than most searches.
 * - `filter`: product by product, without the text index. Chosen when few products are in the range of the filter.
 * - `estimate`: as the planner likes, for counts. Without the words of the brand, which would distort estimates.
 */
export type MatchMethod = "index" | "prepared" | "filter" | "estimate";

/** The size of the shop. */
export interface ShopSize {
  products: number;
  /** The largest partial text index of popular products within `SCAN_SHARE`: the popularity above which it starts. */
  popular: { above: number; products: number };
}

/** What the choice of a strategy depends on. */
export interface SearchFacts {
  byRelevance: boolean;
  descending: boolean;
  isFirstPage: boolean;
  /** Whether an index has the products of the list in its sort order. */
  hasSortIndex: boolean;
  /** Rows to read: the size of the page and one more. */
  rows: number;
  shop: ShopSize;
}

/** Products that a scan tests first: 1 to 2 ms, and enough to fill a page of 20 for a word that 1 in 50 has. */
export const FIRST_SCAN = 1_000;
/** Products that a scan tests at most: as fast as reading 5,000 matches from the text index and sorting them. */
export const LONGEST_SCAN = 6_000;
/**
 * Share of the shop that a scan tests at most. It makes a shop large from `FIRST_SCAN / SCAN_SHARE` = 100,000
 * products on; in smaller shops the text index takes a few milliseconds for any word.
 */
export const SCAN_SHARE = 0.01;
/** A longer scan is tried if it is expected to find so many times as many rows as the page needs. */
const LIKELY_FULL_MARGIN = 1.3;
/** Matches that are ranked. */
export const MAX_RANKED = 1_000;
/**
 * Matches in the sample, one product in 128, that show that more than `MAX_RANKED` products match. Of 1,000 matches
 * 8 are expected in the sample, and 19 occur once in 2,000 searches.
 */
export const MANY_IN_SAMPLE = 19;
/**
 * Known words that a prefix is expanded to. A prefix of more words is tested after the index has found the other
 * terms: the index collects all positions of all its words first, which takes ten times as long.
 */
export const MAX_PREFIX_WORDS = 16;
/** Digits and letters that a term with digits needs to be selective: shorter ones are prefixes of any number. */
export const MIN_NUMBER_LENGTH = 3;
/** Categories that are searched in the text index. A word in the names of more categories is a word like any other. */
export const MAX_CATEGORIES = 50;
/** A first page of fewer products has its query corrected, if a word of it looks misspelled. */
export const FEW_RESULTS = 3;

/** Returns the strategy to start with. */
export function firstStrategy({
  byRelevance,
  descending,
  isFirstPage,
  hasSortIndex,
  shop,
}: SearchFacts): SearchStrategy {
  if (!byRelevance) {
    return hasSortIndex ? { kind: "sort-order-scan", scan: FIRST_SCAN } : { kind: "sorted-matches" };
  }
  if (!isFirstPage) return { kind: "ranked-matches", rankAll: true };
  const isLarge = shop.products * SCAN_SHARE >= FIRST_SCAN;
  return isLarge && descending
    ? {
        kind: "popular-products",
        above: shop.popular.above,
        scan: Math.max(0, FIRST_SCAN - shop.popular.products),
      }
    : { kind: "ranked-matches", rankAll: false };
}

/**
 * Returns the strategy that follows one that did not fill the page; undefined if that one found all there is.
 * @param found rows that it returned
 */
export function nextStrategy(
  strategy: SearchStrategy,
  found: number,
  { rows, shop }: SearchFacts,
): SearchStrategy | undefined {
  const share = Math.floor(shop.products * SCAN_SHARE);
  switch (strategy.kind) {
    case "popular-products": {
      const scan = Math.min(LONGEST_SCAN, share - shop.popular.products);
      const tested = shop.popular.products + strategy.scan;
      return isLikelyFull(found, tested, shop.popular.products + scan, rows)
        ? { ...strategy, scan }
        : { kind: "ranked-matches", rankAll: false };
    }
    case "sort-order-scan": {
      const scan = Math.min(LONGEST_SCAN, share);
      return isLikelyFull(found, strategy.scan, scan, rows)
        ? { ...strategy, scan }
        : { kind: "sorted-matches" };
    }
    default:
      return undefined;
  }
}

/** Whether a longer scan likely fills the page, judged by what the first one found. */
function isLikelyFull(found: number, tested: number, testedNext: number, rows: number): boolean {
  return (found * testedNext) / tested >= LIKELY_FULL_MARGIN * rows;
}

/**
 * Returns how a statement tests whether products match.
 * @param isUsual whether the statement is one of a few, which can stay prepared in each connection
 * @param productsInRange products in the price and time range of the filter; undefined without a range, and for
 *   scans, which never use the text index of all products
 */
export function matchMethod(isUsual: boolean, productsInRange?: number): MatchMethod {
  if (productsInRange !== undefined && productsInRange <= LONGEST_SCAN) return "filter";
  return isUsual ? "prepared" : "index";
}
