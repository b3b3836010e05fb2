import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { Inventory, StockLevel } from "../../../inventory/inventory.ts";
import type { ProductFields } from "../row.ts";

/** A product before its row is written, with its stock, which is locked. */
export interface StoredProduct {
  id: string;
  sku: string;
  level: StockLevel;
}

/** The category of a locked product before its row is written. */
export interface LockedProduct {
  id: string;
  categoryId: string;
  isDeleted: boolean;
}

/** A product as its row describes it. */
export interface ImportedProduct extends ProductFields {
  id: string;
  sku: string;
  categoryId: string;
  stock: bigint;
}

/** Name, description, category or brand of a product differ from those of its row. */
const TEXT_DIFFERS = sql`
  (product.name, product.description, product.category_id, product.brand)
  is distinct from (item.name, item.description, item.category_id, item.brand)`;
/** Other fields of a product besides its stock differ from those of its row, which has null for unchanged ones. */
const OTHER_DIFFERS = sql`(
  product.deleted_at is not null
  or (product.currency, product.price_minor, product.image_uri, product.attributes)
    is distinct from (item.currency, item.price_minor, item.image_uri, item.attributes)
  or product.tax_class <> item.tax_class or product.weight_grams <> item.weight_grams
)`;

/**
 * Returns the stored products with some skus, deleted ones too, with their stock, which is locked in id order as orders
 * do. The products themselves are not locked: that would write each of their rows, although few imports change all of
 * them.
 */
export async function findProducts(
  tx: Tx,
  inventory: Inventory,
  skus: readonly string[],
): Promise<Map<string, StoredProduct>> {
  const found = await tx.query(sql<{ id: string; sku: string }>`
    select id, sku from product where sku = any(${skus}::text[])`);
  const ids = found.map(({ id }) => id);
  const levels = await inventory.lock(tx, ids);
  const products = new Map<string, StoredProduct>();
  for (const { id, sku } of found) {
    const level = levels.get(id);
    if (level !== undefined) products.set(sku, { id, sku, level });
  }
  return products;
}

/** Inserts products in the order of their skus, so that concurrent imports cannot deadlock. */
export async function insertProducts(tx: Tx, products: readonly ImportedProduct[], now: Date): Promise<void> {
  if (products.length === 0) return;
  const sorted = products.toSorted((a, b) => (a.sku < b.sku ? -1 : 1));
  await tx.query(sql`
    insert into product (
      id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri, attributes,
      tax_class, weight_grams, version, created_at, updated_at
    )
    select id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri, attributes,
      coalesce(tax_class, ''), coalesce(weight_grams, 0), 1, ${now}, ${now}
    from ${unnestProducts(sorted)}`);
}

/**
 * Locks those of the products that differ from their rows or have one of the ids, in id order, because updates lock them
 * in any order. The stock must be locked, so that the products are compared as earlier imports have written them.
 */
export async function lockProducts(
  tx: Tx,
  products: readonly ImportedProduct[],
  ids: readonly string[],
): Promise<Map<string, LockedProduct>> {
  if (products.length === 0) return new Map();
  const rows = await tx.query(sql<LockedProduct>`
    select product.id, product.category_id as "categoryId", not active as "isDeleted"
    from ${unnestProducts(products)} join product on product.id = item.id
    where ${TEXT_DIFFERS} or ${OTHER_DIFFERS} or product.id = any(${ids}::uuid[])
    order by product.id for no key update of product`);
  return new Map(rows.map((row) => [row.id, row]));
}

/**
 * Updates and undeletes those of the products that differ. The columns of the search vector are left out where they are
 * equal, since PostgreSQL would generate the vector again. The products and their stock must be locked.
 * @returns the ids of the updated products
 */
export async function updateProducts(
  tx: Tx,
  products: readonly ImportedProduct[],
  now: Date,
): Promise<Set<string>> {
  if (products.length === 0) return new Set();
  const otherColumns = sql`
    currency = item.currency, price_minor = item.price_minor, in_stock = item.in_stock,
    image_uri = item.image_uri, attributes = item.attributes,
    tax_class = coalesce(item.tax_class, product.tax_class),
    weight_grams = coalesce(item.weight_grams, product.weight_grams),
    deleted_at = null, version = version + 1, updated_at = ${now}`;
  const rows = await tx.query(sql<{ id: string }>`
    with item as materialized (select * from ${unnestProducts(products)}),
    text_updated as (
      update product set ${otherColumns}, name = item.name, description = item.description,
        category_id = item.category_id, brand = item.brand
      from item where product.id = item.id and ${TEXT_DIFFERS}
      returning product.id
    ),
    other_updated as (
      update product set ${otherColumns}
      from item where product.id = item.id and not ${TEXT_DIFFERS} and ${OTHER_DIFFERS}
      returning product.id
    )
    select id from text_updated union all select id from other_updated`);
  return new Set(rows.map(({ id }) => id));
}

function unnestProducts(products: readonly ImportedProduct[]) {
  const column = (value: (product: ImportedProduct) => string) => products.map(value);
  return sql`unnest(
    ${column(({ id }) => id)}::uuid[], ${column(({ sku }) => sku)}::text[], ${column(({ name }) => name)}::text[],
    ${column(({ description }) => description)}::text[], ${column(({ categoryId }) => categoryId)}::uuid[],
    ${column(({ brand }) => brand)}::text[], ${column(({ price }) => price.currencyCode)}::char(3)[],
    ${column(({ price }) => price.minorUnits.toString())}::bigint[],
    ${products.map(({ stock }) => stock > 0n)}::boolean[], ${column(({ imageUri }) => imageUri)}::text[],
    ${column(({ attributes }) => JSON.stringify(attributes))}::jsonb[],
    ${products.map(({ taxClass }) => taxClass)}::text[],
    ${products.map(({ weightGrams }) => weightGrams?.toString())}::bigint[]
  ) as item (
    id, sku, name, description, category_id, brand, currency, price_minor, in_stock, image_uri, attributes, tax_class,
    weight_grams
  )`;
}
