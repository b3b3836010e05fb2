import { type Database, prepared, type TextStatement } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { invalidField, quoted } from "../../kernel/errors.ts";
import { isFullMask } from "../../kernel/fields.ts";
import type { Money } from "../../kernel/money.ts";
import { categoryLexeme, type Search } from "../search/terms.ts";
import { searchableText } from "../searchable-text.ts";
import type { Product } from "./product.ts";

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
  if (mask.length === 0 || isFullMask(mask)) return ALL_COLUMNS;
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

/**
 * How words are looked for in a list of any shape. The usual shapes get named statements, which stay in each
 * connection: those of all masks and filters would be too many.
 */
export function wordingOf(scope: ProductScope, columns: readonly (keyof ProductRow)[]): Wording {
  const usual = columns === ALL_COLUMNS && !scope.showDeleted && scope.brand === "" && !hasRange(scope);
  return usual ? "hidden" : "indexed";
}

/** Whether a range of prices or times is asked for. */
export function hasRange({ minPrice, maxPrice, minCreateTime, maxCreateTime }: ProductFilter): boolean {
  return [minPrice, maxPrice, minCreateTime, maxCreateTime].some((filter) => filter !== undefined);
}

/** When no more products than these are in a range, words are looked for among them alone. */
const FEW = 4_000;

/**
 * How words are best looked for in all that a list may hold. The planner cannot know: it takes prices to be
 * the same in all categories.
 */
export async function bestWording(
  db: Database,
  call: Call,
  scope: ProductScope,
  columns: readonly (keyof ProductRow)[],
): Promise<Wording> {
  const usual = wordingOf(scope, columns);
  if (!hasRange(scope)) return usual;
  const { where, values } = conditions({ ...scope, search: undefined, inStockOnly: false });
  const text = `select count(*)::int from (select from product where ${where} limit ${FEW + 1}) as found`;
  const [row] = await db.read<{ count: number }>(call, { text }, values);
  return row !== undefined && row.count <= FEW ? "filtered" : usual;
}

/** A statement that PostgreSQL plans once for each connection where the words are hidden, and else each time. */
export function planned(text: string, wording: Wording): TextStatement {
  return wording === "hidden" ? prepared(text) : { text };
}

/**
 * How the words of a list are looked for: as the planner likes; by the text index, with the words of the brand,
 * which would spoil estimates; so too, but hidden from the planner, which would
 * find a plan for rare words cheaper than one for all words and therefore plan each time, at more than most
 * searches cost; or only in what other filters find.
 */
export type Wording = "plain" | "indexed" | "hidden" | "filtered";

/** The conditions of a filter as SQL, with their values. */
export function conditions(
  scope: ProductScope,
  wording: Wording = "plain",
): { where: string; values: unknown[] } {
  const values: unknown[] = [];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const { categoryIds, search, minPrice, maxPrice, minCreateTime, maxCreateTime } = scope;
  const currency = minPrice?.currencyCode ?? maxPrice?.currencyCode;
  const searched =
    search !== undefined && wording !== "filtered" && categoryIds.length <= MAX_SEARCHED_CATEGORIES;
  const brand = scope.brand === "" ? "" : `${bind(scope.brand)}::text`;
  // All products of a brand have its words. Of signs alone there are none, which adds nothing.
  const ofBrand =
    searched && wording === "indexed" && brand !== ""
      ? ` && plainto_tsquery('simple', ${searchableText(brand)})`
      : "";
  const match = search && (searched ? within(search, categoryIds) : search.match);
  const tests = [
    !scope.showDeleted && "active",
    !searched && categoryIds.length === 1 && `category_id = ${bind(categoryIds[0])}`,
    !searched && categoryIds.length > 1 && `category_id = any(${bind(categoryIds)}::uuid[])`,
    brand !== "" && `brand = ${brand}`,
    currency !== undefined && `currency = ${bind(currency)}`,
    minPrice && `price_minor >= ${bind(minPrice.minorUnits)}`,
    maxPrice && `price_minor <= ${bind(maxPrice.minorUnits)}`,
    minCreateTime && `created_at >= ${bind(minCreateTime.toISOString())}`,
    maxCreateTime && `created_at < ${bind(maxCreateTime.toISOString())}`,
    scope.inStockOnly && "in_stock",
    match !== undefined && MATCHES[wording](`${bind(match)}::tsquery${ofBrand}`),
    search && search.also !== "" && MATCHES.filtered(`${bind(search.also)}::tsquery`),
  ].filter((test) => typeof test === "string");
  return { where: tests.length === 0 ? "true" : tests.join(" and "), values };
}

// An index serves the operator, and not the function behind it.
const MATCHES: Readonly<Record<Wording, (words: string) => string>> = {
  plain: (words) => `search @@ ${words}`,
  indexed: (words) => `search @@ (${words})`,
  hidden: (words) => `search @@ (select ${words})`,
  filtered: (words) => `ts_match_vq(search, ${words})`,
};

/** The words, in some categories only. */
function within({ match }: Search, categoryIds: readonly string[]): string {
  return categoryIds.length === 0 ? match : `${match} & (${categoryIds.map(categoryLexeme).join(" | ")})`;
}

/** The statement of one product by a unique column, its first value; a deleted one only when asked for. */
export function keyStatement(
  column: "id" | "sku",
  columns: readonly (keyof ProductRow)[],
  showDeleted: boolean,
): TextStatement {
  if (columns === ALL_COLUMNS && !showDeleted) return column === "id" ? BY_ID : BY_SKU;
  return {
    text: `select ${columns.join(", ")} from product where ${column} = $1${showDeleted ? "" : " and active"}`,
  };
}

/** The statement of the products that are sold among some ids, its first value. */
export function batchStatement(columns: readonly (keyof ProductRow)[]): TextStatement {
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
