import { sql } from "kysely";
import { type Database, prepared, type Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";

/** A brand with products that are sold. */
export interface Brand {
  name: string;
  productCount: bigint;
}

// From brand to brand, until the page is full: each looks up its own counts, and what has changed lately is read
// once for all of them. The brand without a name stands for none: no name is lower.
const BRANDS = prepared(`
  with changed as materialized (
    select brand, sum(product_count) as product_count from product_count_delta where brand > $1 group by brand
  )
  select name, counted.product_count::text as count
  from brand cross join lateral (
    select sum(product_count) as product_count from (
      select product_count from product_count where product_count.brand = brand.name
      union all select product_count from changed where changed.brand = brand.name
    ) as part
  ) as counted
  where name > $1 and counted.product_count > 0 order by name limit $2`);

/** The brands: each comes with the first product of its name, and is listed while products of it are sold. */
export function createBrands({ db, tokens }: { db: Database; tokens: PageTokens }) {
  return {
    /** Brands with products that are sold, by name. */
    async listBrands(call: Call, page: PageRequest): Promise<Page<Brand>> {
      const query = { list: "brands" };
      const size = resolvePageSize(page.pageSize);
      const [after = ""] = tokens.readCursor(page.pageToken, query) ?? [];
      const rows = await db.read<{ name: string; count: string }>(call, BRANDS, [after, size + 1]);
      return tokens.createPage(
        rows,
        size,
        query,
        (row) => [row.name],
        ({ name, count }) => ({ name, productCount: BigInt(count) }),
      );
    },
  };
}

/**
 * Makes the brands that there are not yet: a brand is made by its first product. In order, so that two imports
 * never wait for each other in a circle.
 */
export async function ensureBrands(tx: Tx, names: readonly string[], now: Date): Promise<void> {
  const sorted = [...new Set(names)].sort();
  await tx.query(sql`
    insert into brand (name, created_at)
    select name, ${now} from unnest(${sorted}::text[]) as wanted (name)
    where not exists (select from brand where brand.name = wanted.name)
    on conflict do nothing`);
}
