import { describe, expect, test } from "vitest";
import {
  firstStrategy,
  MAX_CLUSTERED_SCAN_ROWS,
  MAX_SCAN_ROWS,
  matchMethod,
  nextStrategy,
  type PlanInput,
  type SearchStrategy,
} from "../../../../src/catalog/search/plan.ts";

const byRelevance: PlanInput = {
  byRelevance: true,
  descending: true,
  isFirstPage: true,
  hasSortIndex: true,
  isClustered: false,
  rows: 21,
  shop: { products: 1_000_000, popular: { above: 23, products: 400 } },
};
const byPrice: PlanInput = { ...byRelevance, byRelevance: false };
const smallShop = { products: 99_999, popular: { above: 0, products: 0 } };

/** Returns the strategies that run in turn, when each finds this many rows. */
function strategiesFor(input: PlanInput, found: readonly number[]): SearchStrategy[] {
  const strategies: SearchStrategy[] = [firstStrategy(input)];
  for (const rows of found) {
    const last = strategies.at(-1);
    const next = last && nextStrategy(last, rows, input);
    if (next !== undefined) strategies.push(next);
  }
  return strategies;
}

const RANKED = { kind: "ranked-matches", rankAll: false };
const SORTED = { kind: "sorted-matches" };

describe("a search by relevance", () => {
  test("a search by relevance tests 1,000 popular products of a large shop first, with those of the partial index among them", () => {
    expect(strategiesFor(byRelevance, [])).toEqual([{ kind: "popular-products", above: 23, scan: 600 }]);
  });

  test("a search by relevance ranks all matches when the popular products are too few to expect a full page", () => {
    expect(strategiesFor(byRelevance, [3, 5])).toEqual([expect.anything(), RANKED]);
  });

  test("a search by relevance tests more popular products when they likely fill the page, and ranks all matches when they do not", () => {
    const longer = { kind: "popular-products", above: 23, scan: MAX_SCAN_ROWS };
    expect(strategiesFor(byRelevance, [10, 20, 30])).toEqual([expect.anything(), longer, RANKED]);
  });

  test("a search by relevance tests still more products when the partial index has all that were ever sold", () => {
    const shop = { products: 1_000_000, popular: { above: 0, products: 400 } };
    expect(strategiesFor({ ...byRelevance, shop }, [2])).toEqual([
      expect.anything(),
      { kind: "popular-products", above: 0, scan: MAX_CLUSTERED_SCAN_ROWS },
    ]);
  });

  test("a search by relevance in a small shop ranks all matches first", () => {
    expect(strategiesFor({ ...byRelevance, shop: smallShop }, [5])).toEqual([RANKED]);
  });

  test("a search for the least relevant products ranks all matches first", () => {
    expect(strategiesFor({ ...byRelevance, descending: false }, [5])).toEqual([RANKED]);
  });

  test("a search by relevance ranks any number of matches on a later page", () => {
    const later = { ...byRelevance, isFirstPage: false };
    expect(strategiesFor(later, [5])).toEqual([{ kind: "ranked-matches", rankAll: true }]);
  });
});

describe("a search in another sort order", () => {
  test("a search in another order scans the next 1,000 products first", () => {
    expect(strategiesFor(byPrice, [])).toEqual([{ kind: "sort-order-scan", scan: 1_000 }]);
  });

  test("a search in another order sorts all matches when the scan found too few to expect a full page", () => {
    expect(strategiesFor(byPrice, [1, 1])).toEqual([expect.anything(), SORTED]);
  });

  test("a search in another order scans more products when they likely fill the page, and sorts all matches when they do not", () => {
    const longer = { kind: "sort-order-scan", scan: MAX_SCAN_ROWS };
    expect(strategiesFor(byPrice, [10, 20, 20])).toEqual([expect.anything(), longer, SORTED]);
  });

  test("a search in another order scans still more products when they are adjacent in the table", () => {
    const longer = { kind: "sort-order-scan", scan: MAX_CLUSTERED_SCAN_ROWS };
    expect(strategiesFor({ ...byPrice, isClustered: true }, [2, 20])).toEqual([
      expect.anything(),
      longer,
      SORTED,
    ]);
  });

  test("a search in another order scans no more than its share of a small shop", () => {
    expect(strategiesFor({ ...byPrice, shop: smallShop }, [20])).toEqual([
      expect.anything(),
      { kind: "sort-order-scan", scan: 1_999 },
    ]);
  });

  test("a search in another order sorts all matches first when no index has the order", () => {
    expect(strategiesFor({ ...byPrice, hasSortIndex: false }, [5])).toEqual([SORTED]);
  });
});

describe("the match method", () => {
  test.each([
    ["by a prepared statement for the usual filters", true, undefined, "prepared"],
    ["by a statement planned for them for unusual filters", false, undefined, "index"],
    ["product by product when few products are in the range", false, MAX_SCAN_ROWS, "filter"],
    ["by the text index when many products are in the range", false, MAX_SCAN_ROWS + 1, "index"],
  ])("the words of a query are tested %s", (_, isUsual, productsInRange, method) => {
    expect(matchMethod(isUsual, productsInRange)).toBe(method);
  });
});
