import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { prepare } from "../infra/postgres/statement.ts";

/** The stock of a product. */
export interface StockLevel {
  /** Units in the warehouse. */
  onHand: bigint;
  /** Those of the units on hand that pending orders have taken. */
  reserved: bigint;
  /** Increases with every change of the stock. */
  version: bigint;
}

/** Returns the units that can be ordered. */
export function availableUnits({ onHand, reserved }: StockLevel): bigint {
  return onHand - reserved;
}

interface StockRow {
  product_id: string;
  on_hand: string;
  reserved: string;
  version: string;
}

const READ = prepare<[productIds: readonly string[]], StockRow>(
  (productIds) => sql`
    select product_id, on_hand, reserved, version from inventory where product_id = any(${productIds}::uuid[])`,
);
// FOR NO KEY UPDATE instead of FOR UPDATE: it excludes other writers of stock as strictly, but the foreign key checks
// of purchases do not wait for it.
const LOCK = prepare<[productIds: readonly string[]], StockRow>(
  (productIds) => sql`
    select product_id, on_hand, reserved, version from inventory
    where product_id = any(${productIds}::uuid[]) order by product_id for no key update`,
);

/**
 * Locks the stock of products until the transaction ends, in id order, so that concurrent transactions cannot
 * deadlock. The statement joins no other table: under READ COMMITTED it would return their rows as they were before it
 * waited for the locks.
 * @returns the stock by product id; unknown products are absent
 */
export async function lockStock(tx: Tx, productIds: readonly string[]): Promise<Map<string, StockLevel>> {
  return productIds.length === 0 ? new Map() : levelsOf(await tx.query(LOCK(productIds)));
}

/** Returns the stock of products by id without locking it; unknown products are absent. */
export async function readStock(
  tx: Pick<Tx, "query">,
  productIds: readonly string[],
): Promise<Map<string, StockLevel>> {
  return productIds.length === 0 ? new Map() : levelsOf(await tx.query(READ(productIds)));
}

function levelsOf(rows: readonly StockRow[]): Map<string, StockLevel> {
  return new Map(
    rows.map(({ product_id: id, on_hand: onHand, reserved, version }) => [
      id,
      { onHand: BigInt(onHand), reserved: BigInt(reserved), version: BigInt(version) },
    ]),
  );
}

/**
 * Returns an SQL expression for the units of a product that can be ordered.
 * @param productId column with the id of the product
 */
export function stockQuantity(productId: string): RawBuilder<string> {
  return sql`(select on_hand - reserved from inventory where product_id = ${sql.ref(productId)})`;
}
