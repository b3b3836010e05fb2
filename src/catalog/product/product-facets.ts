import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { MAX_MINOR_UNITS, type Money } from "../../kernel/money.ts";
import { type CountColumn, countStatement } from "./product-count.ts";
import type { ResolvedFilter } from "./product-filter.ts";

/** A property by which the products of a list are counted. */
export type Facet = "BRAND" | "CATEGORY" | "PRICE";

/** The number of products in a price band. */
export interface PriceFacet {
  /** Inclusive. */
  min: Money;
  /** Exclusive; undefined for the highest band. */
  max: Money | undefined;
  productCount: bigint;
}

/** The facets of a list; those that were not requested are empty. */
export interface ProductFacets {
  brands: { brand: string; productCount: bigint }[];
  categories: { categoryId: string; slug: string; name: string; productCount: bigint }[];
  prices: PriceFacet[];
}

/** Maximum number of brands and of categories that are returned: those with the most products. */
const MAX_ENTRIES = 100;

const COLUMNS: Readonly<Record<Facet, readonly CountColumn[]>> = {
  BRAND: ["brand"],
  CATEGORY: ["category_id"],
  PRICE: ["currency", "band"],
};

/** SQL of the entries of each facet. Counts are text, since a JSON number may be rounded. */
const ENTRIES: Readonly<Record<Facet, string>> = {
  BRAND: `
    select brand, sum(count)::text as count from counted group by brand
    having sum(count) > 0 order by sum(count) desc, brand limit ${MAX_ENTRIES}`,
  CATEGORY: `
    select category_id, slug, name, largest.count::text from (
      select category_id, sum(count) as count from counted group by category_id having sum(count) > 0
    ) as largest join category on category.id = category_id
    order by largest.count desc, category_id limit ${MAX_ENTRIES}`,
  PRICE: `
    select currency, band::text, sum(count)::text as count from counted group by currency, band
    having sum(count) > 0 order by currency, counted.band`,
};

interface FacetsRow {
  brand?: { brand: string; count: string }[] | null;
  category?: { category_id: string; slug: string; name: string; count: string }[] | null;
  price?: { currency: string; band: string; count: string }[] | null;
}

/** Counts the products of a filter in one statement, and so in one snapshot. Returns undefined without facets. */
export async function countFacets(
  db: Database,
  call: Call,
  filter: ResolvedFilter,
  facets: readonly Facet[],
): Promise<ProductFacets | undefined> {
  if (facets.length === 0) return undefined;
  const columns = facets.flatMap((facet) => COLUMNS[facet]);
  const lists = facets.map(
    (facet) =>
      `(select json_agg(row_to_json(entry)) from (${ENTRIES[facet]}) as entry) as ${facet.toLowerCase()}`,
  );
  const [row] = await db.read(
    call,
    sql<FacetsRow>`
      with counted as materialized (${countStatement(filter, columns)}) select ${sql.raw(lists.join(", "))}`,
  );
  return {
    brands: (row?.brand ?? []).map(({ brand, count }) => ({ brand, productCount: BigInt(count) })),
    categories: (row?.category ?? []).map(({ category_id: categoryId, slug, name, count }) => ({
      categoryId,
      slug,
      name,
      productCount: BigInt(count),
    })),
    prices: mergeBands(row?.price ?? []),
  };
}

/** Merges the stored price bands, ten per power of ten, into bands that begin at 1, 2 and 5 times each power. */
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

/** Returns the bounds of the merged band that contains a price. */
function bandOf(price: bigint): [bigint, bigint] {
  if (price === 0n) return [0n, 1n];
  const power = 10n ** BigInt(price.toString().length - 1);
  const [step, next] = price < 2n * power ? [1n, 2n] : price < 5n * power ? [2n, 5n] : [5n, 10n];
  return [step * power, next * power];
}
