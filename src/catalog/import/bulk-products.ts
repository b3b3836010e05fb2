import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { ProductFields } from "./row.ts";

/** A product as it is before its row is written. */
export interface StoredProduct {
  id: string;
  sku: string;
  categoryId: string;
  stock: bigint;
  version: number;
  deleted: boolean;
}

/** What a row makes of a product. */
export interface WantedProduct extends ProductFields {
  id: string;
  sku: string;
  categoryId: string;
  stock: bigint;
}

/** Locks the products of some skus, deleted ones too, in id order as orders do. */
export async function lockProducts(tx: Tx, skus: readonly string[]): Promise<StoredProduct[]> {
  const rows = await tx.query(sql<Omit<StoredProduct, "stock"> & { stock: string }>`
    select id, sku, category_id as "categoryId", stock_quantity as stock, version, not active as deleted
    from product where sku = any(${skus}::text[]) order by id for no key update`);
  return rows.map((row) => ({ ...row, stock: BigInt(row.stock) }));
}

/** Adds products, in the order of their skus, so that two imports never wait for each other in a circle. */
export async function insertProducts(tx: Tx, products: readonly WantedProduct[], now: Date): Promise<void> {
  if (products.length === 0) return;
  const sorted = products.toSorted((a, b) => (a.sku < b.sku ? -1 : 1));
  await tx.query(sql`
    insert into product (
      id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity, image_uri, attributes,
      version, created_at, updated_at
    )
    select item.*, 1, ${now}, ${now} from ${itemsOf(sorted)}`);
}

/**
 * Changes those of the locked products that are not as wanted, and undeletes them. One whose stock alone
 * changes keeps its version. What search is made of is left alone where it is the same, since PostgreSQL would
 * make it anew even of the same words.
 * @returns the versions that the changed ones have now
 */
export async function updateProducts(
  tx: Tx,
  products: readonly WantedProduct[],
  now: Date,
): Promise<Map<string, number>> {
  if (products.length === 0) return new Map();
  const words = sql`
    (product.name, product.description, product.category_id, product.brand)
    is distinct from (item.name, item.description, item.category_id, item.brand)`;
  const rest = sql`(
    product.deleted_at is not null or (product.currency, product.price_minor, product.image_uri, product.attributes)
    is distinct from (item.currency, item.price_minor, item.image_uri, item.attributes)
  )`;
  const values = sql`
    currency = item.currency, price_minor = item.price_minor, stock_quantity = item.stock_quantity,
    image_uri = item.image_uri, attributes = item.attributes, deleted_at = null`;
  const rows = await tx.query(sql<{ id: string; version: number }>`
    with item as materialized (select * from ${itemsOf(products)}),
    renamed as (
      update product set ${values}, name = item.name, description = item.description,
        category_id = item.category_id, brand = item.brand, version = version + 1, updated_at = ${now}
      from item where product.id = item.id and ${words}
      returning product.id, version
    ),
    changed as (
      update product set ${values}, version = version + ${rest}::int,
        updated_at = case when ${rest} then ${now} else updated_at end
      from item
      where product.id = item.id and not ${words} and (${rest} or product.stock_quantity <> item.stock_quantity)
      returning product.id, version
    )
    select id, version from renamed union all select id, version from changed`);
  return new Map(rows.map(({ id, version }) => [id, version]));
}

function itemsOf(products: readonly WantedProduct[]) {
  const column = (value: (product: WantedProduct) => string) => products.map(value);
  return sql`unnest(
    ${column(({ id }) => id)}::uuid[], ${column(({ sku }) => sku)}::text[], ${column(({ name }) => name)}::text[],
    ${column(({ description }) => description)}::text[], ${column(({ categoryId }) => categoryId)}::uuid[],
    ${column(({ brand }) => brand)}::text[], ${column(({ price }) => price.currencyCode)}::char(3)[],
    ${column(({ price }) => price.minorUnits.toString())}::bigint[],
    ${column(({ stock }) => stock.toString())}::bigint[], ${column(({ imageUri }) => imageUri)}::text[],
    ${column(({ attributes }) => JSON.stringify(attributes))}::jsonb[]
  ) as item (
    id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity, image_uri, attributes
  )`;
}
