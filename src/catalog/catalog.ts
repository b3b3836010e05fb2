import type { Database, Tx } from "../infra/postgres/postgres.ts";
import {
  type Inventory,
  listStockMovements,
  type MovementListRequest,
  type StockMovement,
} from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Ids } from "../kernel/ids.ts";
import type { Page, PageRequest, PageTokens } from "../kernel/page.ts";
import { type Brand, listBrands } from "./brand/brand.ts";
import { type Categories, createCategories } from "./category/category.ts";
import { importProducts } from "./import/import-products.ts";
import type { ImportProgress } from "./import/progress.ts";
import type { ImportChunk } from "./import/row.ts";
import { createProducts, type Products } from "./product/product.ts";
import { addRating, assertProductActive, type RatingChange } from "./product/product-rating.ts";
import type { ProductSale } from "./sales/add-sales.ts";
import { publishSales } from "./sales/sales-consumer.ts";
import { type CatalogStats, readCatalogStats } from "./stats/catalog-stats.ts";
import { type AdjustmentBatch, type AdjustmentResult, batchAdjustStock } from "./stock/batch-adjust-stock.ts";
import { createProductStock, type ProductStock } from "./stock/product-stock.ts";

export type { ProductSale } from "./sales/add-sales.ts";
export type { OrderedProduct, StockChange } from "./stock/product-stock.ts";

/** The catalogue: products with their stock, categories, brands and statistics. */
export interface Catalog extends ProductStock {
  readonly products: Products;
  readonly categories: Categories;
  /**
   * Changes the stock of products in one transaction. A line that fails changes nothing and does not stop the others.
   * @returns the results of the lines, in their order
   * @throws AppError invalid_argument when the request_id was used for another request
   */
  batchAdjustStock(call: Call, batch: AdjustmentBatch): Promise<AdjustmentResult[]>;
  /**
   * Returns a page of the stock ledger, newest first. Without a product and an order, the entries of orders are left out.
   * @throws AppError invalid_argument for a reason of orders without a product and an order
   */
  listStockMovements(call: Call, request: MovementListRequest): Promise<Page<StockMovement>>;
  /** Returns a page of the brands that have products which are not deleted, sorted by name. */
  listBrands(call: Call, page: PageRequest): Promise<Page<Brand>>;
  /**
   * Returns the statistics of the catalogue.
   * @param lowStockThreshold units up to which the stock counts as low; 10 when 0
   */
  getStats(call: Call, lowStockThreshold: bigint): Promise<CatalogStats>;
  /**
   * Imports products from a stream of rows. An interrupted import can be sent again.
   * @returns the result of the import, and whether it is replayed from an earlier run
   * @throws AppError failed_precondition, aborted or invalid_argument as `importProducts` does
   */
  importProducts(
    call: Call,
    chunks: AsyncGenerator<ImportChunk>,
  ): Promise<ImportProgress & { replayed: boolean }>;
  /**
   * Checks that a product exists and is not deleted.
   * @throws AppError not_found
   */
  assertProductActive(tx: Tx, productId: string): Promise<void>;
  /**
   * Adds reviews to the rating of a product, deleted or not. Its row stays locked until the transaction ends.
   * @throws AppError not_found
   */
  addRating(tx: Tx, productId: string, change: RatingChange): Promise<void>;
  /** Records sales of products, which are added to the units sold and to the popularity within seconds of the commit. */
  recordSales(tx: Tx, sales: readonly ProductSale[]): void;
}

/** Dependencies of the catalogue. */
export interface CatalogOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  inventory: Inventory;
}

/** Creates the catalogue. */
export function createCatalog(options: CatalogOptions): Catalog {
  return {
    products: createProducts(options),
    categories: createCategories(options),
    batchAdjustStock: (call, batch) => batchAdjustStock(options, call, batch),
    listStockMovements: (call, request) => listStockMovements(options, call, request),
    listBrands: (call, page) => listBrands(options, call, page),
    getStats: (call, lowStockThreshold) => readCatalogStats(options.db, call, lowStockThreshold),
    importProducts: (call, chunks) => importProducts(options, call, chunks),
    ...createProductStock(options),
    assertProductActive,
    addRating,
    recordSales: publishSales,
  };
}
