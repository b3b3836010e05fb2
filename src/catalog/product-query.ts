import { prepared, type Statement } from "../infra/postgres.ts";
import { invalidField, quoted } from "../kernel/errors.ts";
import { isWhole } from "../kernel/fields.ts";
import type { Money } from "../kernel/money.ts";
import type { Product } from "./product.ts";
import { categoryLexeme, type Search } from "./product-search.ts";

/** Which products, in what order. Empty and absent filters are not applied. */
export interface ProductFilter {
  categoryId: string;
  brand: string;
  minPrice: Money | undefined;
  maxPrice: Money | undefined;
  inStockOnly: boolean;
  /** Inclusive. */
  minCreateTime: Date | undefined;
  /** Exclusive. */
  maxCreateTime: Date | undefined;
  query: string;
  showDeleted: boolean;
}

/** A filter with what it means now: categories with those below them, and words. */
export interface ProductScope extends ProductFilter {
  /** The category and those below it; empty for all. */
  categoryIds: readonly string[];
  /** Absent for a query without words. */
  search: Search | undefined;
}

/** A product of which only the asked fields are filled; `id` always is. */
export type ProductView = Pick<Product, "id"> & Partial<Product>;

/** A row of which only the selected columns are filled. */
export interface ProductRow {
  id: string;
  sku?: string;
  name?: string;
  description?: string;
  category_id?: string;
  brand?: string;
  currency?: string;
  price_minor?: string;
  stock_quantity?: string;
  rating_average?: number;
  rating_count?: string;
  purchase_count?: string;
  image_uri?: string;
  attributes?: Record<string, string>;
  version?: number;
  created_at?: string;
  updated_at?: string;
  deleted_at?: string | null;
  popularity?: number;
  /** Null where products are ordered by popularity instead. */
  relevance?: string | null;
}

/** The columns behind each field of the contract. */
const COLUMNS: Readonly<Record<string, readonly (keyof ProductRow)[]>> = {
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
  etag: ["version"],
  create_time: ["created_at"],
  update_time: ["updated_at"],
  delete_time: ["deleted_at"],
};
/** What is selected when no mask says otherwise. */
export const ALL_COLUMNS: readonly (keyof ProductRow)[] = Object.values(COLUMNS).flat();

const BY_ID = prepared(`select ${ALL_COLUMNS.join(", ")} from product where id = $1 and active`);
const BY_SKU = prepared(`select ${ALL_COLUMNS.join(", ")} from product where sku = $1 and active`);
const BY_IDS = prepared(
  `select ${ALL_COLUMNS.join(", ")} from product where id = any($1::uuid[]) and active`,
);

/** The columns that a read mask selects; all for an empty one and for "*". INVALID_ARGUMENT for an unknown field. */
export function readColumns(mask: readonly string[]): readonly (keyof ProductRow)[] {
  if (mask.length === 0 || isWhole(mask)) return ALL_COLUMNS;
  const columns = new Set<keyof ProductRow>(["id"]);
  for (const path of mask) {
    const known = Object.hasOwn(COLUMNS, path) ? COLUMNS[path] : undefined;
    if (known === undefined) {
      throw invalidField(
        "read_mask",
        `has no field ${quoted(path)}. There are: ${Object.keys(COLUMNS).join(", ")}.`,
      );
    }
    for (const column of known) columns.add(column);
  }
  return [...columns];
}

/** Up to so many categories are looked for in the text index, along with the words. */
const MAX_SEARCHED_CATEGORIES = 50;

/** The conditions of a filter as SQL, with their values. */
export function conditions(scope: ProductScope): { where: string; values: unknown[] } {
  const values: unknown[] = [];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const { categoryIds, search, minPrice, maxPrice, minCreateTime, maxCreateTime } = scope;
  const currency = minPrice?.currencyCode ?? maxPrice?.currencyCode;
  const searched = search !== undefined && categoryIds.length <= MAX_SEARCHED_CATEGORIES;
  const tests = [
    !scope.showDeleted && "active",
    !searched && categoryIds.length === 1 && `category_id = ${bind(categoryIds[0])}`,
    !searched && categoryIds.length > 1 && `category_id = any(${bind(categoryIds)}::uuid[])`,
    scope.brand !== "" && `brand = ${bind(scope.brand)}`,
    currency !== undefined && `currency = ${bind(currency)}`,
    minPrice && `price_minor >= ${bind(minPrice.minorUnits)}`,
    maxPrice && `price_minor <= ${bind(maxPrice.minorUnits)}`,
    minCreateTime && `created_at >= ${bind(minCreateTime.toISOString())}`,
    maxCreateTime && `created_at < ${bind(maxCreateTime.toISOString())}`,
    scope.inStockOnly && "in_stock",
    search && `search @@ ${bind(searched ? within(search, categoryIds) : search.match)}::tsquery`,
  ].filter((test) => typeof test === "string");
  return { where: tests.length === 0 ? "true" : tests.join(" and "), values };
}

/** The words, in some categories only. */
function within({ match }: Search, categoryIds: readonly string[]): string {
  return categoryIds.length === 0 ? match : `${match} & (${categoryIds.map(categoryLexeme).join(" | ")})`;
}

/** The statement of one product by a unique column, its first value; a deleted one only when asked for. */
export function keyStatement(
  column: "id" | "sku",
  columns: readonly (keyof ProductRow)[],
  showDeleted: boolean,
): Statement {
  if (columns === ALL_COLUMNS && !showDeleted) return column === "id" ? BY_ID : BY_SKU;
  return {
    text: `select ${columns.join(", ")} from product where ${column} = $1${showDeleted ? "" : " and active"}`,
  };
}

/** The statement of the products that are sold among some ids, its first value. */
export function batchStatement(columns: readonly (keyof ProductRow)[]): Statement {
  return columns === ALL_COLUMNS
    ? BY_IDS
    : { text: `select ${columns.join(", ")} from product where id = any($1::uuid[]) and active` };
}

/** The product of a row, with what was selected. */
export function fromRow(row: ProductRow): ProductView {
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
    stockQuantity: big(row.stock_quantity),
    ratingAverage: row.rating_average,
    ratingCount: big(row.rating_count),
    purchaseCount: big(row.purchase_count),
    imageUri: row.image_uri,
    attributes: row.attributes,
    etag: row.version?.toString(),
    createTime: date(row.created_at),
    updateTime: date(row.updated_at),
    deleteTime: date(row.deleted_at),
  };
}

function big(value: string | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

function date(value: string | null | undefined): Date | undefined {
  return value === undefined || value === null ? undefined : new Date(value);
}
