import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Facet, TotalMode } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { clientsOf, defined, protocols } from "../../../support/catalog/product-fixtures.ts";
import {
  insertProducts,
  type ListRequest,
  type ProductInsert,
} from "../../../support/catalog/product-rows.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let toys: string;
let games: string;
let tools: string;
let rows: ProductInsert[];
beforeAll(async () => {
  shop = await startShop();
  const make = async (slug: string, parentId = "") => {
    const { category } = await shop.catalog.createCategory({ category: { slug, name: slug, parentId } });
    return defined(category).id;
  };
  toys = await make("toys");
  games = await make("games", toys);
  tools = await make("tools");
  const prices = [0, 1, 99, 100, 124, 125, 199, 200, 499, 500, 999, 1_000, 10 ** 15 - 1, 10 ** 15];
  rows = Array.from({ length: 130 }, (_, at) => ({
    name: at % 4 === 0 ? "red thing" : "thing",
    categoryId: [toys, games, tools][at % 3] ?? "",
    brand: at < 125 ? `Brand ${at % 120}` : "",
    currency: at % 5 === 0 ? "USD" : "EUR",
    price: prices[at % prices.length] ?? 0,
    stock: at % 2,
    deleted: at % 13 === 0,
  }));
  await insertProducts(shop, rows);
});
afterAll(() => shop.close());

const ALL = [Facet.BRAND, Facet.CATEGORY, Facet.PRICE];
const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });

function count<K>(products: ProductInsert[], key: (product: ProductInsert) => K): Map<K, bigint> {
  const counts = new Map<K, bigint>();
  for (const product of products) counts.set(key(product), (counts.get(key(product)) ?? 0n) + 1n);
  return counts;
}

/** Returns the currency and the lower bound of the price band: the largest 1, 2 or 5 times a power of ten up to it. */
function bandOf({ currency, price = 0 }: ProductInsert): string {
  const steps = [
    0,
    ...Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)),
  ].flat();
  return `${currency} ${steps.filter((step) => step <= price && step <= 10 ** 15).at(-1)}`;
}

describe.each(protocols)("over %s", (protocol) => {
  test.each<[string, ListRequest | (() => ListRequest), (product: ProductInsert) => boolean]>([
    ["all products", {}, () => true],
    [
      "a category with its descendants",
      () => ({ categoryId: toys }),
      ({ categoryId }) => categoryId !== tools,
    ],
    [
      "a category and stock",
      () => ({ categoryId: games, inStockOnly: true }),
      (p) => p.categoryId === games && p.stock === 1,
    ],
    ["a brand", { brand: "Brand 3" }, ({ brand }) => brand === "Brand 3"],
    ["products in stock", { inStockOnly: true }, ({ stock }) => stock === 1],
    ["a word", { query: "red" }, ({ name }) => name === "red thing"],
    [
      "a word in a category",
      () => ({ query: "red", categoryId: toys }),
      (p) => p.name === "red thing" && p.categoryId !== tools,
    ],
    [
      "a price range",
      { minPrice: eur(100n), maxPrice: eur(500n) },
      ({ currency, price = 0 }) => currency === "EUR" && price >= 100 && price <= 500,
    ],
    ["a list without products", { brand: "Unknown" }, () => false],
  ])(
    "the facets of %s count the products of all pages and agree with the total",
    async (_, request, holds) => {
      const filter = typeof request === "function" ? request() : request;
      for (const showDeleted of [false, true]) {
        const expected = rows.filter((row) => holds(row) && (showDeleted || !row.deleted));
        const { facets, totalSize } = await clientsOf(shop, protocol).catalog.listProducts({
          ...filter,
          showDeleted,
          pageSize: 1,
          total: TotalMode.EXACT,
          facets: ALL,
        });
        const { brands, categories, prices } = defined(facets);
        expect(totalSize).toBe(expected.length);
        const counted = [...count(expected, ({ brand }) => brand ?? "")]
          .map(([brand, productCount]) => ({ brand, productCount }))
          .sort(
            (one, other) =>
              Number(other.productCount - one.productCount) ||
              Buffer.compare(Buffer.from(one.brand), Buffer.from(other.brand)),
          );
        expect(brands).toMatchObject(counted.slice(0, 100));
        expect(brands.length).toBe(Math.min(counted.length, 100));
        const named = new Map([
          [toys, "toys"],
          [games, "games"],
          [tools, "tools"],
        ]);
        expect(new Map(categories.map((facet) => [facet.categoryId, facet.productCount]))).toEqual(
          count(expected, ({ categoryId }) => categoryId),
        );
        for (const { categoryId, slug, name } of categories)
          expect([slug, name]).toEqual([named.get(categoryId), named.get(categoryId)]);
        expect(
          new Map(
            prices.map(({ min, productCount }) => [`${min?.currencyCode} ${min?.minorUnits}`, productCount]),
          ),
        ).toEqual(count(expected, bandOf));
        for (const { min, max } of prices) {
          expect(max === undefined).toBe(min?.minorUnits === 10n ** 15n);
          expect(max?.currencyCode ?? min?.currencyCode).toBe(min?.currencyCode);
        }
        const sums = [brands.length < 100 ? brands : [], categories, prices].map((list) =>
          list.reduce((sum, { productCount }) => sum + Number(productCount), 0),
        );
        expect(sums).toEqual([brands.length < 100 ? totalSize : 0, totalSize, totalSize]);
      }
    },
  );

  test("only the requested facets are counted, on each page that requests them", async () => {
    const { catalog } = clientsOf(shop, protocol);
    const plain = await catalog.listProducts({ pageSize: 1 });
    expect(plain.facets).toBeUndefined();
    const next = await catalog.listProducts({
      pageSize: 1,
      pageToken: plain.nextPageToken,
      facets: [Facet.PRICE],
    });
    expect(next.facets).toMatchObject({ brands: [], categories: [] });
    expect(next.facets?.prices.length).toBeGreaterThan(5);
  });

  test("price bands start at 1, 2 and 5 times each power of ten", async () => {
    const { catalog } = clientsOf(shop, protocol);
    const request = { minPrice: eur(100n), maxPrice: eur(10n ** 15n), facets: [Facet.PRICE] };
    const { prices } = defined((await catalog.listProducts(request)).facets);
    expect(prices.map(({ min, max }) => [min?.minorUnits, max?.minorUnits])).toEqual([
      [100n, 200n],
      [200n, 500n],
      [500n, 1_000n],
      [1_000n, 2_000n],
      [5n * 10n ** 14n, 10n ** 15n],
      [10n ** 15n, undefined],
    ]);
  });

  test.each([[[Facet.BRAND, Facet.BRAND]], [[Facet.UNSPECIFIED]], [[77 as Facet]]])(
    "the facets %j are rejected",
    async (facets) => {
      const failure = await failureOf(clientsOf(shop, "gRPC").catalog.listProducts({ facets }));
      expect(failure).toMatchObject({ code: "InvalidArgument" });
    },
  );
});
