import type { Database } from "../infra/postgres/postgres.ts";
import type { Inventory } from "../inventory/inventory.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Ids } from "../kernel/ids.ts";
import type { PageTokens } from "../kernel/page.ts";
import { createBrands } from "./brand/brand.ts";
import { createCategories } from "./category/category.ts";
import { importProducts } from "./import/import-products.ts";
import type { ImportChunk } from "./import/row.ts";
import { createProducts } from "./product/product.ts";
import { createProductReads } from "./product/product-read.ts";
import { createProductStock } from "./product/product-stock.ts";
import { addRating, assertActive } from "./product/rating.ts";
import { createCatalogStats } from "./stats/stats.ts";

export type { SoldProduct } from "./product/product-stock.ts";

/** What the catalogue is made of. */
export interface CatalogOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  inventory: Inventory;
}

/** The catalogue: products with their stock, categories and statistics. */
export function createCatalog(options: CatalogOptions) {
  return {
    products: { ...createProducts(options), ...createProductReads(options) },
    categories: createCategories(options),
    ...createBrands(options),
    ...createCatalogStats(options),
    importProducts: (call: Call, parts: AsyncGenerator<ImportChunk>) => importProducts(options, call, parts),
    ...createProductStock(options),
    /** For reviews, in their transaction. */
    assertActive,
    addRating,
  };
}

/** The catalogue as other rooms see it. */
export type Catalog = ReturnType<typeof createCatalog>;
