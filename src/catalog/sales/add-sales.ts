import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";

/** Units of a product that were sold. */
export interface ProductSale {
  productId: string;
  /** Negative for the units of a cancelled order. */
  units: bigint;
}

/** Returns the SQL of the popularity of a product: units sold on a logarithmic scale, in steps of about a tenth. */
function popularityOf(purchaseCount: RawBuilder<unknown>): RawBuilder<number> {
  return sql`floor(10 * ln(1 + (${purchaseCount})::double precision))::smallint`;
}

/**
 * Adds sales to the units sold, and marks the products whose popularity changes. Units sold that would be negative become
 * 0: the stored number was too small.
 * @returns ids of the products whose units sold would be negative
 */
export async function addSales(tx: Tx, sales: readonly ProductSale[]): Promise<string[]> {
  if (sales.length === 0) return [];
  const ids = sales.map(({ productId }) => productId);
  const units = sales.map((sale) => sale.units.toString());
  // Before the update, because a check of the table rejects the negative units of a cancellation even on conflict.
  await tx.query(sql`
    insert into product_sales (product_id, purchase_count)
    select distinct id, 0 from unnest(${ids}::uuid[]) as sold (id) order by id
    on conflict do nothing`);
  const sum = sql`greatest(0, purchase_count + units)`;
  const negative = await tx.query(sql<{ product_id: string }>`
    with sale as (
      select id, sum(units)::bigint as units
      from unnest(${ids}::uuid[], ${units}::bigint[]) as sale (id, units) group by id
    ), counted as (
      update product_sales set purchase_count = ${sum}, popularity_due_at = case
        when ${popularityOf(sql.ref("purchase_count"))} = ${popularityOf(sum)} then popularity_due_at
        else coalesce(popularity_due_at, now())
      end
      from sale where product_id = id
    )
    -- Reads the number before the update.
    select product_id from sale join product_sales on product_id = id
    where units < 0 and purchase_count + units < 0 order by product_id`);
  return negative.map((row) => row.product_id);
}

/** Products whose popularity was updated. */
export interface UpdatedPopularities {
  products: { id: string; sku: string }[];
  /** Whether more products may be marked. */
  hasMore: boolean;
}

/**
 * Updates the popularity of marked products, those that have waited longest first. Each costs an entry in all indexes of
 * the products, about ten times as much as counting a sale, so that callers limit how many are updated.
 */
export async function updatePopularities(tx: Tx, limit: number): Promise<UpdatedPopularities> {
  const rows = await tx.query(sql<{ id: string | null; sku: string | null }>`
    with due as (
      select product_id, ${popularityOf(sql.ref("purchase_count"))} as popularity from product_sales
      where popularity_due_at is not null order by popularity_due_at, product_id limit ${limit}
    ), unmarked as (
      update product_sales set popularity_due_at = null from due where due.product_id = product_sales.product_id
    ), changed as materialized (
      select id, due.popularity from product join due on id = product_id
      where product.popularity <> due.popularity order by id for no key update of product
    ), updated as (
      update product set popularity = changed.popularity from changed where product.id = changed.id
      returning product.id, product.sku
    )
    select id, sku from due left join updated on id = product_id`);
  return {
    products: rows.flatMap(({ id, sku }) => (id === null || sku === null ? [] : [{ id, sku }])),
    hasMore: rows.length === limit,
  };
}
