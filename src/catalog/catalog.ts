import type { Database } from "../infra/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock, Ids } from "../kernel/clock.ts";
import type { PageTokens } from "../kernel/page.ts";
import { createBrands } from "./brand.ts";
import { createCategories } from "./category.ts";
import { importProducts } from "./import.ts";
import type { ImportPart } from "./import-row.ts";
import { createProducts } from "./product.ts";
import { createProductReads } from "./product-read.ts";
import { assertSold, rate } from "./rating.ts";
import { createCatalogStats } from "./stats.ts";
import { adjustStock, lockReturns, lockStock, type StockAdjustment, stockMove } from "./stock.ts";

export type { SoldProduct, StockLine, StockReason } from "./stock.ts";

/** What the catalogue is made of. */
export interface CatalogOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
}

/** The catalogue: products with their stock, categories and statistics. */
export function createCatalog(options: CatalogOptions) {
  return {
    products: { ...createProducts(options), ...createProductReads(options) },
    categories: createCategories(options),
    ...createBrands(options),
    ...createCatalogStats(options),
    adjustStock: (call: Call, adjustment: StockAdjustment) => adjustStock(options, call, adjustment),
    importProducts: (call: Call, parts: AsyncGenerator<ImportPart>) => importProducts(options, call, parts),
    /** For orders, in their transaction. */
    lockStock,
    lockReturns,
    stockMove,
    /** For reviews, in their transaction. */
    assertSold,
    rate,
  };
}

/** The catalogue as other rooms see it. */
export type Catalog = ReturnType<typeof createCatalog>;
