import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { availableUnits, type Inventory } from "../../../inventory/inventory.ts";
import type { ProductFields } from "../row.ts";

/** A product before its row is written. */
export interface StoredProduct {
  id: string;
  sku: string;
  categoryId: string;
  stock: bigint;
  version: number;
  isDeleted: boolean;
}

/** A product as its row describes it. */
export interface ImportedProduct extends ProductFields {
  id: string;
  sku: string;
  categoryId: string;
  stock: bigint;
}

/**
 * Locks the stock of the products with these skus, and then the products, deleted ones too, in id order as orders do. A
 * product whose sku changes at the same time is left out.
 */
export async function lockProducts(
  tx: Tx,
  inventory: Inventory,
  skus: readonly string[],
): Promise<StoredProduct[]> {
  const found = await tx.query(sql<{ id: string }>`select id from product where sku = any(${skus}::text[])`);
  const ids = found.map(({ id }) => id);
  const levels = await inventory.lock(tx, ids);
  const rows = await tx.query(sql<Omit<StoredProduct, "stock">>`
    select id, sku, category_id as "categoryId", version, not active as "isDeleted"
    from product where id = any(${ids}::uuid[]) and sku = any(${skus}::text[]) order by id for no key update`);
  return rows.flatMap((row) => {
    const level = levels.get(row.id);
    return level === undefined ? [] : [{ ...row, stock: availableUnits(level) }];
  });
}

/** Inserts products in the order of their skus, so that concurrent imports cannot deadlock. */
export async function insertProducts(tx: Tx, products: readonly ImportedProduct[], now: Date): Promise<void> {
  if (products.length === 0) return;
  const sorted = products.toSorted((a, b) => (a.sku < b.sku ? -1 : 1));
  await tx.query(sql`
    insert into product (
      id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri, attributes,
      version, created_at, updated_at
    )
    select item.*, 1, ${now}, ${now} from ${unnestProducts(sorted)}`);
}

/**
 * Updates and undeletes those of the locked products that differ. A product whose availability alone changes keeps its
 * version. The columns of the search vector are left out where they are equal, since PostgreSQL would generate the
 * vector again.
 * @returns the new versions of the updated products, by id
 */
export async function updateProducts(
  tx: Tx,
  products: readonly ImportedProduct[],
  now: Date,
): Promise<Map<string, number>> {
  if (products.length === 0) return new Map();
  const textDiffers = sql`
    (product.name, product.description, product.category_id, product.brand)
    is distinct from (item.name, item.description, item.category_id, item.brand)`;
  const otherDiffers = sql`(
    product.deleted_at is not null or (product.currency, product.price_minor, product.image_uri, product.attributes)
    is distinct from (item.currency, item.price_minor, item.image_uri, item.attributes)
  )`;
  const otherColumns = sql`
    currency = item.currency, price_minor = item.price_minor, in_stock = item.in_stock,
    image_uri = item.image_uri, attributes = item.attributes, deleted_at = null`;
  const rows = await tx.query(sql<{ id: string; version: number }>`
    with item as materialized (select * from ${unnestProducts(products)}),
    text_updated as (
      update product set ${otherColumns}, name = item.name, description = item.description,
        category_id = item.category_id, brand = item.brand, version = version + 1, updated_at = ${now}
      from item where product.id = item.id and ${textDiffers}
      returning product.id, version
    ),
    other_updated as (
      update product set ${otherColumns}, version = version + ${otherDiffers}::int,
        updated_at = case when ${otherDiffers} then ${now} else updated_at end
      from item
      where product.id = item.id and not ${textDiffers}
        and (${otherDiffers} or product.in_stock <> item.in_stock)
      returning product.id, version
    )
    select id, version from text_updated union all select id, version from other_updated`);
  return new Map(rows.map(({ id, version }) => [id, version]));
}

function unnestProducts(products: readonly ImportedProduct[]) {
  const column = (value: (product: ImportedProduct) => string) => products.map(value);
  return sql`unnest(
    ${column(({ id }) => id)}::uuid[], ${column(({ sku }) => sku)}::text[], ${column(({ name }) => name)}::text[],
    ${column(({ description }) => description)}::text[], ${column(({ categoryId }) => categoryId)}::uuid[],
    ${column(({ brand }) => brand)}::text[], ${column(({ price }) => price.currencyCode)}::char(3)[],
    ${column(({ price }) => price.minorUnits.toString())}::bigint[],
    ${products.map(({ stock }) => stock > 0n)}::boolean[], ${column(({ imageUri }) => imageUri)}::text[],
    ${column(({ attributes }) => JSON.stringify(attributes))}::jsonb[]
  ) as item (
    id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri, attributes
  )`;
}
