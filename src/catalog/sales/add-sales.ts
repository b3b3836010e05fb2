import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";

/** Units of a product that were sold. */
export interface ProductSale {
  productId: string;
  /** Negative for the units of a cancelled order. */
  units: bigint;
}

/** Returns the SQL of the popularity of a product: units sold on a logarithmic scale, in steps of about a tenth. */
export function popularityOf(purchaseCount: string): RawBuilder<number> {
  return sql`floor(10 * ln(1 + ${sql.ref(purchaseCount)}::double precision))::smallint`;
}

/** Adds sales to the units sold, and updates the popularity of the products where its step changes. */
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
    with sold as (
      update product_sales set purchase_count = purchase_count + units
      from (
        select id, sum(units) as units from unnest(${ids}::uuid[], ${units}::bigint[]) as sale (id, units) group by id
      ) as sale where product_id = id
      returning product_id, ${popularityOf("purchase_count")} as popularity
    ), changed as materialized (
      select id, sold.popularity from product join sold on id = product_id
      where product.popularity <> sold.popularity order by id for no key update of product
    )
    update product set popularity = changed.popularity from changed where product.id = changed.id`);
}
