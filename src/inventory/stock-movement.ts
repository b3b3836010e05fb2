import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { recountTime } from "./recount.ts";

/** A number of units of one product. */
export interface StockLine {
  productId: string;
  quantity: bigint;
}

/** A change of the stock of one product. */
export interface StockChange {
  productId: string;
  /** Units added; negative for units removed. */
  delta: bigint;
}

/** The movement of an order: an order removes units, its cancellation returns them. */
export interface OrderMovement {
  orderId: string;
  reason: "ORDER" | "CANCEL";
  lines: readonly StockLine[];
  now: Date;
}

/** Statements for the caller's `with` clause. */
export interface MovementStatements {
  /** Updates the stock. */
  stock: RawBuilder<unknown>;
  /** Inserts the movements into the ledger. */
  ledger: RawBuilder<unknown>;
}

/**
 * Returns the statements that move the stock of an order's products and record it in the ledger. They are parts
 * of the caller's statement, so that an order is written in one round trip and holds its locks no longer. The
 * products must be locked. A second movement of an order for the same reason violates the ledger's unique key.
 */
export function orderMovement({ orderId, reason, lines, now }: OrderMovement): MovementStatements {
  const sign = reason === "ORDER" ? -1n : 1n;
  const productIds = lines.map((line) => line.productId);
  const quantities = lines.map((line) => line.quantity.toString());
  const rows = sql`unnest(${productIds}::uuid[], ${quantities}::bigint[]) as line (product_id, quantity)`;
  return {
    // Units sold are updated here too: a statement can update a row only once.
    stock: sql`
      update product set
        stock_quantity = stock_quantity + ${sign}::bigint * line.quantity,
        purchase_count = purchase_count - ${sign}::bigint * line.quantity
      from ${rows} where product.id = line.product_id`,
    ledger: sql`
      insert into stock_movement (product_id, delta, reason, order_id, effective_at, created_at)
      select product_id, ${sign}::bigint * quantity, ${reason}, ${orderId}::uuid, ${now}::timestamptz, ${now}::timestamptz
      from ${rows}`,
  };
}

/**
 * Inserts changes of the stock of locked products into the ledger. The stock itself is updated by the caller.
 * @param now time after the products were locked
 */
export async function recordStock(
  tx: Tx,
  reason: "INITIAL" | "RECOUNT",
  changes: readonly StockChange[],
  now: Date,
): Promise<void> {
  if (changes.length === 0) return;
  const productIds = changes.map(({ productId }) => productId);
  const deltas = changes.map(({ delta }) => delta.toString());
  const time = reason === "RECOUNT" ? recountTime(sql`change.product_id`, now) : sql`${now}::timestamptz`;
  // With "offset 0" the time is computed once for each row, not once for each column.
  await tx.query(sql`
    insert into stock_movement (product_id, delta, reason, effective_at, created_at)
    select product_id, delta, ${reason}, time, time
    from unnest(${productIds}::uuid[], ${deltas}::bigint[]) as change (product_id, delta),
      lateral (select ${time} as time offset 0) as recorded`);
}
