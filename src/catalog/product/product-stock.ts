import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { availableUnits, type Inventory, type StockAdjustment } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import { type Product, productTag, productTags, readProduct } from "./product-row.ts";

/** The fields of a product that an order copies, and whether it is sold. */
export interface OrderedProduct {
  sku: string;
  name: string;
  price: Money;
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
  findOrdered(tx: Tx, productIds: readonly string[]): Promise<Map<string, OrderedProduct>>;
  /**
   * Updates the availability of products whose stock is locked, and invalidates the cached responses that show it, after
   * orders or cancellations have changed the units that can be ordered.
   */
  applyStockChanges(tx: Tx, changes: readonly StockChange[]): Promise<void>;
  /** Invalidates the cached responses that show the availability of products. */
  invalidateAvailability(tx: Tx, products: readonly { id: string; sku: string }[]): void;
}

/** A change of the units of a product that can be ordered. */
export interface StockChange {
  productId: string;
  sku: string;
  before: bigint;
  after: bigint;
  /** Version of the stock after the change. */
  version: bigint;
}

interface ProductColumns {
  id: string;
  sku: string;
  name: string;
  currency: string;
  price_minor: string;
  active: boolean;
}

const FIND_ORDERED = prepare<[ids: readonly string[]], ProductColumns>(
  (ids) => sql`
    select id, sku, name, currency, price_minor, active from product where id = any(${ids}::uuid[])`,
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
          const { productId } = adjustment;
          const { before, after } = await inventory.adjust(tx, adjustment);
          const isInStock = availableUnits(after) > 0n;
          if (availableUnits(before) > 0n !== isInStock)
            await setAvailability(tx, [{ productId, isInStock }]);
          const product = await readProduct(tx, productId);
          tx.invalidate(...productTags(product), "catalog");
          return { ...product, onHandQuantity: after.onHand };
        },
      );
      return result;
    },

    async findOrdered(tx, productIds) {
      const rows = await tx.query(FIND_ORDERED(productIds));
      return new Map(rows.map((row) => [row.id, orderedProduct(row)]));
    },

    async applyStockChanges(tx, changes) {
      const crossed = changes.filter(({ before, after }) => before > 0n !== after > 0n);
      for (const { productId, sku, before, after, version } of changes) {
        if (before > 0n !== after > 0n) tx.invalidate(...productTags({ id: productId, sku }));
        else tx.invalidateThrottled(productTag(productId), version);
      }
      await setAvailability(
        tx,
        crossed.map(({ productId, after }) => ({ productId, isInStock: after > 0n })),
      );
    },

    invalidateAvailability(tx, products) {
      if (products.length > 0) tx.invalidate(...products.flatMap(productTags), "catalog");
    },
  };
}

/** Whether units of a product can be ordered. */
export interface Availability {
  productId: string;
  isInStock: boolean;
}

/**
 * Writes the availability of products whose stock has become 0 or has ceased to be, in id order, and invalidates the
 * lists that show it. The stock of the products must be locked.
 */
export async function setAvailability(tx: Tx, changes: readonly Availability[]): Promise<void> {
  if (changes.length === 0) return;
  await tx.query(sql`
    with change as materialized (
      select id, is_in_stock from product join unnest(
        ${changes.map(({ productId }) => productId)}::uuid[], ${changes.map(({ isInStock }) => isInStock)}::boolean[]
      ) as change (product_id, is_in_stock) on id = product_id
      order by id for no key update of product
    )
    update product set in_stock = change.is_in_stock from change where product.id = change.id`);
  tx.invalidate("catalog");
}

function orderedProduct({ sku, name, currency, price_minor, active }: ProductColumns): OrderedProduct {
  return { sku, name, price: { currencyCode: currency, minorUnits: BigInt(price_minor) }, isActive: active };
}
