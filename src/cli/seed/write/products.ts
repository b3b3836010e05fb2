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
    with item as materialized (
      select * from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ sku }) => sku)}::text[], ${column(({ name }) => name)}::text[],
        ${column(({ description }) => description)}::text[],
        ${column(({ categorySlug }) => categoryIds.get(categorySlug))}::uuid[],
        ${column(({ brand }) => brand)}::text[], ${column(({ priceMinor }) => priceMinor)}::bigint[],
        ${column(({ stock }) => stock)}::bigint[], ${column(({ imageUri }) => imageUri)}::text[],
        ${column(({ attributes }) => JSON.stringify(attributes))}::jsonb[],
        ${column(({ taxClass }) => taxClass)}::text[], ${column(({ weightGrams }) => weightGrams)}::bigint[],
        ${column(({ createdAt }) => createdAt)}::timestamptz[]
      ) as item (
        id, sku, name, description, category_id, brand, price_minor, stock, image_uri, attributes, tax_class,
        weight_grams, at
      )
    ), added as (
      insert into product (
        id, sku, name, description, category_id, brand, currency, price_minor, in_stock,
        image_uri, attributes, tax_class, weight_grams, created_at, updated_at
      )
      select id, sku, name, description, category_id, brand, 'EUR', price_minor, stock > 0, image_uri, attributes,
        tax_class, weight_grams, at, at
      from item on conflict do nothing
      returning id, created_at
    ), stocked as (
      insert into inventory (product_id, on_hand)
      select item.id, stock from item join added on added.id = item.id
    ), ledger as (
      insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
      select added.id, stock, 'INITIAL', created_at, created_at from item join added on added.id = item.id
      where stock > 0
    )
    select count(*)::int as added from added`);
  return result?.added ?? 0;
}
