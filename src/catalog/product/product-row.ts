import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { stockQuantity } from "../../inventory/inventory.ts";
import { invalidField, notFound, quoted } from "../../kernel/errors.ts";
import { isFullMask } from "../../kernel/fields.ts";
import type { Money } from "../../kernel/money.ts";

/** A product. */
export interface Product {
  id: string;
  sku: string;
  name: string;
  description: string;
  categoryId: string;
  /** Empty for none. */
  brand: string;
  price: Money;
  stockQuantity: bigint;
  /** 0 without ratings, else 1 to 5. */
  ratingAverage: number;
  ratingCount: bigint;
  /** Units sold. */
  purchaseCount: bigint;
  imageUri: string;
  attributes: Record<string, string>;
  /** Empty for the standard class. */
  taxClass: string;
  /** Weight of one unit; 0 if it is unknown or the product is not shipped. */
  weightGrams: bigint;
  etag: string;
  createTime: Date;
  updateTime: Date;
  /** Undefined while the product is not deleted. */
  deleteTime: Date | undefined;
}

/** A product with only the fields of a read mask; `id` is always among them. */
export type ProductView = Pick<Product, "id"> & Partial<Product>;

/** All public columns of a product as PostgreSQL returns them. */
interface FullProductRow {
  id: string;
  sku: string;
  name: string;
  description: string;
  category_id: string;
  brand: string;
  currency: string;
  price_minor: string;
  stock_quantity: string;
  rating_average: number;
  rating_count: string;
  purchase_count: string;
  image_uri: string;
  attributes: Record<string, string>;
  tax_class: string;
  weight_grams: string;
  version: number;
  created_at: string;
  updated_at: string;
  deleted_at: string | null;
}

/** The selected columns of a product. */
export interface ProductRow extends Partial<Omit<FullProductRow, "id">> {
  id: string;
  popularity?: number;
  /** Null in a search that sorts its matches by popularity instead of ranking them. */
  relevance?: string | null;
}

/** The columns of each field of the contract. */
const COLUMNS: Readonly<Record<string, readonly (keyof FullProductRow)[]>> = {
  id: ["id"],
  sku: ["sku"],
  name: ["name"],
  description: ["description"],
  category_id: ["category_id"],
  brand: ["brand"],
  price: ["currency", "price_minor"],
  stock_quantity: ["stock_quantity"],
  rating_average: ["rating_average"],
  rating_count: ["rating_count"],
  purchase_count: ["purchase_count"],
  image_uri: ["image_uri"],
  attributes: ["attributes"],
  tax_class: ["tax_class"],
  weight_grams: ["weight_grams"],
  etag: ["version"],
  create_time: ["created_at"],
  update_time: ["updated_at"],
  delete_time: ["deleted_at"],
};

/** All columns, which are selected without a read mask. */
export const ALL_COLUMNS: readonly (keyof FullProductRow)[] = Object.values(COLUMNS).flat();

/**
 * Returns the columns of a read mask; `ALL_COLUMNS` for an empty one and for "*".
 * @throws AppError invalid_argument for an unknown field
 */
export function readColumns(mask: readonly string[]): readonly (keyof FullProductRow)[] {
  if (mask.length === 0 || isFullMask(mask)) return ALL_COLUMNS;
  const columns = new Set<keyof FullProductRow>(["id"]);
  for (const path of mask) {
    const known = Object.hasOwn(COLUMNS, path) ? COLUMNS[path] : undefined;
    if (known === undefined) {
      throw invalidField(
        "read_mask",
        `has no field ${quoted(path)}. Valid fields: ${Object.keys(COLUMNS).join(", ")}.`,
      );
    }
    for (const column of known) columns.add(column);
  }
  return [...columns];
}

/** Columns that are read from other tables, by the id of the product. */
const DERIVED: Readonly<Partial<Record<keyof ProductRow, RawBuilder<unknown>>>> = {
  stock_quantity: stockQuantity("product.id"),
  purchase_count: sql`coalesce((select purchase_count from product_sales where product_id = product.id), 0)`,
};

/** Returns the distinct columns as SQL, of the table or subquery that is named `product`. */
export function selectList(columns: readonly (keyof ProductRow)[]): RawBuilder<ProductRow> {
  return sql.join(
    [...new Set(columns)].map((column) => {
      const derived = DERIVED[column];
      return derived === undefined ? sql.ref(`product.${column}`) : sql`${derived} as ${sql.ref(column)}`;
    }),
  );
}

/** Returns those of the columns that are in the product's row. */
export function storedColumns(columns: readonly (keyof ProductRow)[]): (keyof ProductRow)[] {
  return columns.filter((column) => DERIVED[column] === undefined);
}

/** Returns the product of a row, with the fields whose columns were selected. */
export function productFromRow(row: FullProductRow): Product;
export function productFromRow(row: ProductRow): ProductView;
export function productFromRow(row: ProductRow): ProductView {
  const { currency, price_minor: priceMinor } = row;
  return {
    id: row.id,
    sku: row.sku,
    name: row.name,
    description: row.description,
    categoryId: row.category_id,
    brand: row.brand,
    price:
      currency === undefined || priceMinor === undefined
        ? undefined
        : { currencyCode: currency, minorUnits: BigInt(priceMinor) },
    stockQuantity: toBigInt(row.stock_quantity),
    ratingAverage: row.rating_average,
    ratingCount: toBigInt(row.rating_count),
    purchaseCount: toBigInt(row.purchase_count),
    imageUri: row.image_uri,
    attributes: row.attributes,
    taxClass: row.tax_class,
    weightGrams: toBigInt(row.weight_grams),
    etag: row.version?.toString(),
    createTime: toDate(row.created_at),
    updateTime: toDate(row.updated_at),
    deleteTime: toDate(row.deleted_at),
  };
}

const findById = prepare<[id: string], FullProductRow>(
  (id) => sql`select ${selectList(ALL_COLUMNS)} from product where id = ${id}`,
);

/**
 * Reads a product, deleted or not, as the transaction sees it.
 * @throws AppError not_found
 */
export async function readProduct(tx: Tx, id: string): Promise<Product> {
  const [row] = await tx.query(findById(id));
  if (row === undefined) throw notFound("product", id);
  return productFromRow(row);
}

/** Returns the cache tags of the responses that show a product. */
export function productTags({ id, sku }: { id: string; sku: string }): string[] {
  return [productTag(id), `sku:${sku}`];
}

/** Returns the cache tag of the responses that show a product, whatever the request was. */
export function productTag(id: string): string {
  return `product:${id}`;
}

function toBigInt(value: string | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

function toDate(value: string | null | undefined): Date | undefined {
  return value === undefined || value === null ? undefined : new Date(value);
}
