import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import type { Inventory, StockAdjustment, StockLevel, StockLine } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound, type StateViolation } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { type Product, productTags, readProduct } from "./product-row.ts";

/** The fields of a product that an order copies. */
export interface OrderedProduct {
  sku: string;
  name: string;
  price: Money;
}

interface ProductColumns {
  sku: string;
  name: string;
  currency: string;
  price_minor: string;
  active: boolean;
}

const PRODUCT_COLUMNS = sql<ProductColumns>`sku, name, currency, price_minor, active`;

/** The operations that change the stock of products and invalidate the cached responses that show it. */
export interface ProductStock {
  /**
   * Changes the stock of a product and records it in the ledger, in one transaction.
   * @throws AppError not_found, aborted, failed_precondition or invalid_argument as `Inventory.adjust` does
   */
  adjustStock(call: Call, adjustment: StockAdjustment & { requestId: string }): Promise<Product>;
  /**
   * Locks the products of an order until the transaction ends, and checks that they are available.
   * @returns the products by id
   * @throws AppError not_found for an unknown product; failed_precondition that lists each product that is deleted or
   *   has too little stock
   */
  lockForSale(tx: Tx, lines: readonly StockLine[]): Promise<Map<string, OrderedProduct>>;
  /** Locks the products of a cancelled order until the transaction ends. */
  lockForRestock(tx: Tx, lines: readonly StockLine[]): Promise<void>;
}

/** Creates the operations on the stock of products. */
export function createProductStock({ db, inventory }: { db: Database; inventory: Inventory }): ProductStock {
  async function lock(tx: Tx, lines: readonly StockLine[]) {
    const productIds = lines.map((line) => line.productId);
    return inventory.lock(tx, productIds, PRODUCT_COLUMNS);
  }

  return {
    async adjustStock(call, { requestId, ...adjustment }) {
      const options = { method: "AdjustStock", requestId };
      const { result } = await runMutation(db, call, options, adjustment, async (tx) => {
        const before = await inventory.adjust(tx, adjustment);
        const product = await readProduct(tx, adjustment.productId);
        invalidateStock(tx, product, before, product.stockQuantity);
        return product;
      });
      return result;
    },

    async lockForSale(tx, lines) {
      const levels = await lock(tx, lines);
      assertAvailable(lines, levels);
      const products = new Map<string, OrderedProduct>();
      for (const { productId, quantity } of lines) {
        const level = levels.get(productId);
        if (level === undefined) continue;
        const { sku, name, currency, price_minor } = level.columns;
        const price = { currencyCode: currency, minorUnits: BigInt(price_minor) };
        products.set(productId, { sku, name, price });
        invalidateStock(tx, { id: productId, sku }, level.quantity, level.quantity - quantity);
      }
      return products;
    },

    async lockForRestock(tx, lines) {
      const levels = await lock(tx, lines);
      for (const { productId, quantity } of lines) {
        const level = levels.get(productId);
        if (level === undefined) continue;
        const { sku } = level.columns;
        invalidateStock(tx, { id: productId, sku }, level.quantity, level.quantity + quantity);
      }
    },
  };
}

function assertAvailable(
  lines: readonly StockLine[],
  levels: ReadonlyMap<string, StockLevel<ProductColumns>>,
): void {
  const violations: StateViolation[] = [];
  for (const { productId, quantity } of lines) {
    const level = levels.get(productId);
    if (level === undefined) throw notFound("product", productId);
    const subject = `products/${productId}`;
    const { sku, active } = level.columns;
    if (!active) {
      violations.push({ type: "DELETED", subject, description: `${sku} is no longer sold` });
    } else if (level.quantity < quantity) {
      const description = `${sku}: ${level.quantity} left, ${quantity} requested`;
      violations.push({ type: "STOCK", subject, description });
    }
  }
  if (violations.length === 0) return;
  const descriptions = violations.map(({ description }) => description).join("; ");
  throw new AppError("failed_precondition", `Insufficient stock: ${descriptions}. Nothing was ordered.`, {
    reason: violations.every(({ type }) => type === "DELETED") ? "PRODUCT_DELETED" : "OUT_OF_STOCK",
    preconditions: violations,
  });
}

/** Invalidates responses that show the product. Lists may show an old quantity, but not an old availability. */
function invalidateStock(tx: Tx, product: { id: string; sku: string }, before: bigint, after: bigint): void {
  tx.invalidate(...productTags(product));
  if (before > 0n !== after > 0n) tx.invalidate("catalog");
}
