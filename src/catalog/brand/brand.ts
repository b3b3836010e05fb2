import { sql } from "kysely";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";

/** A brand that has products which are not deleted. */
export interface Brand {
  name: string;
  productCount: bigint;
}

interface BrandRow {
  name: string;
  product_count: string;
}

/** Reads brand after brand until the page is full. The deltas of the counts are read once for all brands. */
const findBrands = prepare<[after: string, limit: number], BrandRow>(
  (after, limit) => sql`
  with delta as materialized (
    select brand, sum(product_count) as product_count from product_count_delta where brand > ${after} group by brand
  )
  select name, total.product_count::text
  from brand cross join lateral (
    select sum(product_count) as product_count from (
      select product_count from product_count where product_count.brand = brand.name
      union all select product_count from delta where delta.brand = brand.name
    ) as part
  ) as total
  where name > ${after} and total.product_count > 0 order by name limit ${limit}`,
);

/** Returns a page of the brands that have products which are not deleted, sorted by name. */
export async function listBrands(
  { db, tokens }: { db: Database; tokens: PageTokens },
  call: Call,
  page: PageRequest,
): Promise<Page<Brand>> {
  const query = { list: "brands" };
  const size = resolvePageSize(page.pageSize);
  // The empty name means no brand, and sorts before all others.
  const [after = ""] = tokens.readCursor(page.pageToken, query) ?? [];
  const rows = await db.read(call, findBrands(String(after), size + 1));
  return tokens.createPage(rows, size, query, ({ name }) => [name], brandFromRow);
}

function brandFromRow({ name, product_count: productCount }: BrandRow): Brand {
  return { name, productCount: BigInt(productCount) };
}

/** Inserts the brands that do not exist yet, in the order of their names, so that two imports never deadlock. */
export async function ensureBrands(tx: Tx, names: readonly string[], now: Date): Promise<void> {
  const sorted = [...new Set(names)].sort();
  await tx.query(sql`
    insert into brand (name, created_at)
    select name, ${now} from unnest(${sorted}::text[]) as input (name)
    where not exists (select from brand where brand.name = input.name)
    on conflict do nothing`);
}
