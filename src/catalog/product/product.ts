import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { prepare, type Statement } from "../../infra/postgres/statement.ts";
import type { Inventory } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { PageTokens } from "../../kernel/page.ts";
import { createShopSizeReader } from "../stats/shop-size.ts";
import { listProducts, type ProductList, type ProductListRequest } from "./product-list.ts";
import {
  ALL_COLUMNS,
  type Product,
  type ProductRow,
  type ProductView,
  productFromRow,
  readColumns,
  selectList,
} from "./product-row.ts";
import {
  createProduct,
  deleteProduct,
  type ProductCreation,
  type ProductUpdate,
  undeleteProduct,
  updateProduct,
} from "./product-writes.ts";

/** A unique key of a product. */
export interface ProductKey {
  column: "id" | "sku";
  value: string;
}

/** The products of the shop. Stock is changed by `Catalog.adjustStock` and by orders. */
export interface Products {
  /**
   * Returns a product.
   * @param options.readMask contract names of the fields to return; empty for all
   * @throws AppError not_found for an unknown product, and for a deleted one unless `showDeleted`
   */
  get(
    call: Call,
    key: ProductKey,
    options: { showDeleted: boolean; readMask: readonly string[] },
  ): Promise<ProductView>;
  /**
   * Returns products in the order of the ids.
   * @throws AppError not_found when one of them is unknown or deleted
   */
  batchGet(call: Call, ids: readonly string[], readMask: readonly string[]): Promise<ProductView[]>;
  /**
   * Returns a page of products, with the requested total and facets.
   * @throws AppError not_found for an unknown slug of a category, invalid_argument for an invalid filter or page token
   */
  list(call: Call, request: ProductListRequest): Promise<ProductList>;
  /**
   * Creates a product and records its initial stock in the ledger.
   * @throws AppError already_exists when the sku is taken, not_found for an unknown category
   */
  create(call: Call, request: ProductCreation): Promise<Product>;
  /**
   * Changes the fields of the mask.
   * @throws AppError not_found for an unknown product, failed_precondition for a deleted one, aborted for a stale etag,
   *   already_exists when the sku is taken
   */
  update(call: Call, request: ProductUpdate): Promise<Product>;
  /**
   * Deletes a product softly: it is neither sold nor listed any more.
   * @throws AppError not_found for an unknown or deleted product, aborted for a stale etag
   */
  delete(call: Call, id: string, etag: string): Promise<Product>;
  /**
   * Reverts a soft deletion.
   * @throws AppError not_found for an unknown product, already_exists when it is not deleted, aborted for a stale etag
   */
  undelete(call: Call, id: string, etag: string): Promise<Product>;
}

/** Dependencies of the operations on products. */
export interface ProductsOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  inventory: Inventory;
}

/** Creates the operations on products. */
export function createProducts(options: ProductsOptions): Products {
  const { db, tokens } = options;
  const listOptions = { db, tokens, readShopSize: createShopSizeReader(db) };
  return {
    async get(call, key, { showDeleted, readMask }) {
      const [row] = await db.read(call, keyStatement(key, readColumns(readMask), showDeleted));
      if (row === undefined) throw notFound("product", key.value);
      return productFromRow(row);
    },
    async batchGet(call, ids, readMask) {
      const rows = await db.read(call, idsStatement(ids, readColumns(readMask)));
      const products = new Map(rows.map((row) => [row.id, productFromRow(row)]));
      return ids.map((id) => {
        const product = products.get(id.toLowerCase());
        if (product === undefined) throw notFound("product", id);
        return product;
      });
    },
    list: (call, request) => listProducts(listOptions, call, request),
    create: (call, request) => createProduct(options, call, request),
    update: (call, request) => updateProduct(options, call, request),
    delete: (call, id, etag) => deleteProduct(options, call, id, etag),
    undelete: (call, id, etag) => undeleteProduct(options, call, id, etag),
  };
}

/** Statements without a read mask are prepared; there are too many masks to prepare each. */
const prepared = {
  id: prepare<[id: string], ProductRow>(
    (id) => sql`select ${selectList(ALL_COLUMNS)} from product where id = ${id} and active`,
  ),
  sku: prepare<[sku: string], ProductRow>(
    (sku) => sql`select ${selectList(ALL_COLUMNS)} from product where sku = ${sku} and active`,
  ),
  ids: prepare<[ids: readonly string[]], ProductRow>(
    (ids) => sql`select ${selectList(ALL_COLUMNS)} from product where id = any(${ids}::uuid[]) and active`,
  ),
};

/** Returns the statement that reads one product by a unique key. */
export function keyStatement(
  { column, value }: ProductKey,
  columns: readonly (keyof ProductRow)[],
  showDeleted: boolean,
): Statement<ProductRow> {
  if (columns === ALL_COLUMNS && !showDeleted) return prepared[column](value);
  const active = sql.raw(showDeleted ? "" : "and active");
  return sql`select ${selectList(columns)} from product where ${sql.ref(column)} = ${value} ${active}`;
}

function idsStatement(ids: readonly string[], columns: readonly (keyof ProductRow)[]): Statement<ProductRow> {
  if (columns === ALL_COLUMNS) return prepared.ids(ids);
  return sql`select ${selectList(columns)} from product where id = any(${ids}::uuid[]) and active`;
}
