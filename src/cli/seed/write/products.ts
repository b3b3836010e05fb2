import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { SeedProduct } from "../generate/products.ts";

/**
 * Writes the missing products, with their initial stock movements in the same statement.
 * @param categoryIds ids of the categories by slug
 * @returns the number of added products
 */
export async function writeProducts(
  tx: Tx,
  products: readonly SeedProduct[],
  categoryIds: ReadonlyMap<string, string>,
): Promise<number> {
  const column = <T>(value: (product: SeedProduct) => T) => products.map(value);
  const [result] = await tx.query(sql<{ added: number }>`
    with added as (
      insert into product (
        id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
        image_uri, attributes, created_at, updated_at
      )
      select id, sku, name, description, category_id, brand, 'EUR', price_minor, stock, image_uri, attributes, at, at
      from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ sku }) => sku)}::text[], ${column(({ name }) => name)}::text[],
        ${column(({ description }) => description)}::text[],
        ${column(({ categorySlug }) => categoryIds.get(categorySlug))}::uuid[],
        ${column(({ brand }) => brand)}::text[], ${column(({ priceMinor }) => priceMinor)}::bigint[],
        ${column(({ stock }) => stock)}::bigint[], ${column(({ imageUri }) => imageUri)}::text[],
        ${column(({ attributes }) => JSON.stringify(attributes))}::jsonb[],
        ${column(({ createdAt }) => createdAt)}::timestamptz[]
      ) as item (id, sku, name, description, category_id, brand, price_minor, stock, image_uri, attributes, at)
      on conflict do nothing
      returning id, stock_quantity, created_at
    ), ledger as (
      insert into stock_movement (product_id, delta, reason, effective_at, created_at)
      select id, stock_quantity, 'INITIAL', created_at, created_at from added where stock_quantity > 0
    )
    select count(*)::int as added from added`);
  return result?.added ?? 0;
}
