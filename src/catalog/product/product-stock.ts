import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import {
  availableUnits,
  type Inventory,
  type StockAdjustment,
  type StockLevel,
  type StockLine,
} from "../../inventory/inventory.ts";
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
  /**
   * Locks the stock of an order's products until the transaction ends, checks that they are available, and updates
   * their availability to what it is after the order.
   * @returns the products by id
   * @throws AppError not_found for an unknown product; failed_precondition that lists each product that is deleted or
   *   has too little stock
   */
  lockForSale(tx: Tx, lines: readonly StockLine[]): Promise<Map<string, OrderedProduct>>;
  /** Locks the stock of a cancelled order's products, and updates their availability to what it is afterwards. */
  lockForRestock(tx: Tx, lines: readonly StockLine[]): Promise<void>;
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
  /** Changes of the stock of locked products are applied to their availability and to the cache. */
  async function applyChanges(
    tx: Tx,
    products: Iterable<{ id: string; sku: string }>,
    levels: ReadonlyMap<string, StockLevel>,
    deltas: ReadonlyMap<string, bigint>,
  ): Promise<void> {
    const crossed: Availability[] = [];
    for (const product of products) {
      const level = levels.get(product.id);
      if (level === undefined) continue;
      const before = availableUnits(level);
      const isInStock = before + (deltas.get(product.id) ?? 0n) > 0n;
      tx.invalidate(...productTags(product));
      if (before > 0n !== isInStock) crossed.push({ productId: product.id, isInStock });
    }
    await setAvailability(tx, crossed);
  }

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

    async lockForSale(tx, lines) {
      const ids = lines.map((line) => line.productId);
      const levels = await inventory.lock(tx, ids);
      // A statement of its own: its snapshot is newer than the locks.
      const rows = new Map((await tx.query(FIND_ORDERED(ids))).map((row) => [row.id, row]));
      assertAvailable(lines, levels, rows);
      await applyChanges(
        tx,
        rows.values(),
        levels,
        new Map(lines.map((line) => [line.productId, -line.quantity])),
      );
      return new Map([...rows].map(([id, row]) => [id, orderedProduct(row)]));
    },

    async lockForRestock(tx, lines) {
      const ids = lines.map((line) => line.productId);
      const levels = await inventory.lock(tx, ids);
      const rows = await tx.query(FIND_ORDERED(ids));
      await applyChanges(tx, rows, levels, new Map(lines.map((line) => [line.productId, line.quantity])));
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

function orderedProduct({ sku, name, currency, price_minor }: ProductColumns): OrderedProduct {
  return { sku, name, price: { currencyCode: currency, minorUnits: BigInt(price_minor) } };
}

function assertAvailable(
  lines: readonly StockLine[],
  levels: ReadonlyMap<string, StockLevel>,
  products: ReadonlyMap<string, ProductColumns>,
): void {
  const violations: StateViolation[] = [];
  for (const { productId, quantity } of lines) {
    const level = levels.get(productId);
    const product = products.get(productId);
    if (level === undefined || product === undefined) throw notFound("product", productId);
    const subject = `products/${productId}`;
    const { sku, active } = product;
    if (!active) {
      violations.push({ type: "DELETED", subject, description: `${sku} is no longer sold` });
    } else if (availableUnits(level) < quantity) {
      const description = `${sku}: ${availableUnits(level)} left, ${quantity} requested`;
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
