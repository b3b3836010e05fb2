import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import {
  crossesZero,
  type Inventory,
  type StockAdjustment,
  type StockTransition,
} from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import { type Product, productTag, productTags, readProduct } from "../product/product-row.ts";
import { updateAvailability } from "./availability.ts";

/** The fields of a product that an order copies, and whether it is sold. */
export interface OrderedProduct {
  sku: string;
  name: string;
  price: Money;
  /** Empty for the standard class. */
  taxClass: string;
  /** Weight of one unit; 0 if it is unknown or the product is not shipped. */
  weightGrams: bigint;
  /** False for a deleted product. */
  isActive: boolean;
}

/** A product after a change of its stock. */
export interface StockedProduct extends Product {
  /** Units in the warehouse; undefined in a repeat of a request that an earlier version has stored. */
  onHandQuantity: bigint | undefined;
}

/** The operations that change the stock of products and invalidate the cached responses that show it. */
export interface ProductStock {
  /**
   * Changes the stock of a product and records it in the ledger, in one transaction.
   * @throws AppError not_found, aborted, failed_precondition or invalid_argument as `Inventory.adjust` does
   */
  adjustStock(call: Call, adjustment: StockAdjustment & { requestId: string }): Promise<StockedProduct>;
  /** Returns the fields of products that orders copy, by id; unknown products are absent. */
  findOrdered(tx: Pick<Tx, "query">, productIds: readonly string[]): Promise<Map<string, OrderedProduct>>;
  /**
   * Updates the availability of products whose stock is locked, and invalidates the cached responses that show it, after
   * orders or cancellations have changed the units that can be ordered.
   */
  applyStockChanges(tx: Tx, changes: readonly StockChange[]): Promise<void>;
  /** Invalidates the cached responses that show the availability of products. */
  invalidateAvailability(tx: Tx, products: readonly { id: string; sku: string }[]): void;
}

/** A change of the stock of a product with a sku. */
export interface StockChange extends StockTransition {
  sku: string;
}

interface ProductColumns {
  id: string;
  sku: string;
  name: string;
  currency: string;
  price_minor: string;
  tax_class: string;
  weight_grams: string;
  active: boolean;
}

const FIND_ORDERED = prepare<[ids: readonly string[]], ProductColumns>(
  (ids) => sql`
    select id, sku, name, currency, price_minor, tax_class, weight_grams, active
    from product where id = any(${ids}::uuid[])`,
);

/** Creates the operations on the stock of products. */
export function createProductStock({ db, inventory }: { db: Database; inventory: Inventory }): ProductStock {
  return {
    async adjustStock(call, { requestId, ...adjustment }) {
      const options = { method: "AdjustStock", requestId };
      const { result } = await runMutation(
        db,
        call,
        options,
        adjustment,
        async (tx): Promise<StockedProduct> => {
          const transition = await inventory.adjust(tx, adjustment);
          await updateAvailability(tx, [transition]);
          const product = await readProduct(tx, adjustment.productId);
          tx.invalidate(...productTags(product), "catalog");
          return { ...product, onHandQuantity: transition.after.onHand };
        },
      );
      return result;
    },

    async findOrdered(tx, productIds) {
      const rows = await tx.query(FIND_ORDERED(productIds));
      return new Map(rows.map((row) => [row.id, orderedProduct(row)]));
    },

    async applyStockChanges(tx, changes) {
      for (const change of changes) {
        const { productId, sku, after } = change;
        if (crossesZero(change)) tx.invalidate(...productTags({ id: productId, sku }));
        else tx.invalidateThrottled(productTag(productId), after.version);
      }
      await updateAvailability(tx, changes);
    },

    invalidateAvailability(tx, products) {
      if (products.length > 0) tx.invalidate(...products.flatMap(productTags), "catalog");
    },
  };
}

function orderedProduct({ sku, name, active, ...columns }: ProductColumns): OrderedProduct {
  return {
    sku,
    name,
    price: { currencyCode: columns.currency, minorUnits: BigInt(columns.price_minor) },
    taxClass: columns.tax_class,
    weightGrams: BigInt(columns.weight_grams),
    isActive: active,
  };
}
