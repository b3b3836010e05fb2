import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { MAX_MINOR_UNITS, type Money } from "../../kernel/money.ts";
import { type CountColumn, countedBy } from "./product-count.ts";
import type { ProductScope } from "./product-query.ts";

/** By what products can be counted. */
export type Facet = "BRAND" | "CATEGORY" | "PRICE";

/** The products in a band of prices: from `min` on, and below `max`, which the last band lacks. */
export interface PriceFacet {
  min: Money;
  max: Money | undefined;
  productCount: bigint;
}

/** Products counted in several ways. */
export interface ProductFacets {
  brands: { brand: string; productCount: bigint }[];
  categories: { categoryId: string; slug: string; name: string; productCount: bigint }[];
  prices: PriceFacet[];
}

/** How many brands and categories are told. */
const MOST = 100;

const COLUMNS: Readonly<Record<Facet, readonly CountColumn[]>> = {
  BRAND: ["brand"],
  CATEGORY: ["category_id"],
  PRICE: ["currency", "band"],
};

// Counts are texts, as JSON would round large ones.
const LISTS: Readonly<Record<Facet, string>> = {
  BRAND: `
    select brand, sum(count)::text as count from counted group by brand
    having sum(count) > 0 order by sum(count) desc, brand limit ${MOST}`,
  CATEGORY: `
    select category_id, slug, name, most.count::text from (
      select category_id, sum(count) as count from counted group by category_id having sum(count) > 0
    ) as most join category on category.id = category_id
    order by most.count desc, category_id limit ${MOST}`,
  PRICE: `
    select currency, band::text, sum(count)::text as count from counted group by currency, band
    having sum(count) > 0 order by currency, counted.band`,
};

interface Row {
  brand?: { brand: string; count: string }[] | null;
  category?: { category_id: string; slug: string; name: string; count: string }[] | null;
  price?: { currency: string; band: string; count: string }[] | null;
}

/** Counts the products of a filter in one statement, and so as of one moment. */
export async function countFacets(
  db: Database,
  call: Call,
  scope: ProductScope,
  facets: readonly Facet[],
): Promise<ProductFacets | undefined> {
  if (facets.length === 0) return undefined;
  const counted = countedBy(
    scope,
    facets.flatMap((facet) => COLUMNS[facet]),
  );
  const lists = facets.map(
    (facet) =>
      `(select json_agg(row_to_json(list)) from (${LISTS[facet]}) as list) as ${facet.toLowerCase()}`,
  );
  const text = `with counted as materialized (${counted.text}) select ${lists.join(", ")}`;
  const [row] = await db.read<Row>(call, { text }, counted.values);
  return {
    brands: (row?.brand ?? []).map(({ brand, count }) => ({ brand, productCount: BigInt(count) })),
    categories: (row?.category ?? []).map(({ category_id: categoryId, slug, name, count }) => ({
      ...{ categoryId, slug, name },
      productCount: BigInt(count),
    })),
    prices: mergeBands(row?.price ?? []),
  };
}

/** The bands that are counted, ten to a power of ten, as bands that begin at 1, 2 and 5 of each. */
function mergeBands(rows: readonly { currency: string; band: string; count: string }[]): PriceFacet[] {
  const facets: PriceFacet[] = [];
  for (const { currency: currencyCode, band, count } of rows) {
    const [min, max] = bandOf(BigInt(band));
    const last = facets.at(-1);
    if (last?.min.currencyCode === currencyCode && last.min.minorUnits === min) {
      last.productCount += BigInt(count);
    } else {
      facets.push({
        min: { currencyCode, minorUnits: min },
        max: max > MAX_MINOR_UNITS ? undefined : { currencyCode, minorUnits: max },
        productCount: BigInt(count),
      });
    }
  }
  return facets;
}

/** Where the band of a price begins, and where the next one does. */
function bandOf(price: bigint): [bigint, bigint] {
  if (price === 0n) return [0n, 1n];
  const power = 10n ** BigInt(price.toString().length - 1);
  const [step, next] = price < 2n * power ? [1n, 2n] : price < 5n * power ? [2n, 5n] : [5n, 10n];
  return [step * power, next * power];
}
