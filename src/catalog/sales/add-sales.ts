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

/** Adds sales to the units sold, and marks the products whose popularity changes. */
export async function addSales(tx: Tx, sales: readonly ProductSale[]): Promise<void> {
  if (sales.length === 0) return;
  const ids = sales.map(({ productId }) => productId);
  const units = sales.map((sale) => sale.units.toString());
  // Before the update, because a check of the table rejects the negative units of a cancellation even on conflict.
  await tx.query(sql`
    insert into product_sales (product_id, purchase_count)
    select distinct id, 0 from unnest(${ids}::uuid[]) as sold (id) order by id
    on conflict do nothing`);
  await tx.query(sql`
    update product_sales set purchase_count = purchase_count + units, popularity_due_at = case
      when ${popularityOf(sql.ref("purchase_count"))} = ${popularityOf(sql`purchase_count + units`)} then popularity_due_at
      else coalesce(popularity_due_at, now())
    end
    from (
      select id, sum(units)::bigint as units
      from unnest(${ids}::uuid[], ${units}::bigint[]) as sale (id, units) group by id
    ) as sale where product_id = id`);
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
