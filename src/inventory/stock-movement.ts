import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { recountTime } from "./recount.ts";

/** A number of units of one product. */
export interface StockLine {
  productId: string;
  quantity: bigint;
}

/** The movement of an order: an order reserves units, its cancellation releases them. */
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
 * Returns the statements that move the reserved units of an order's products and record it in the ledger. They are
 * parts of the caller's statement, so that an order is written in one round trip and holds its locks no longer. The
 * stock must be locked. A second movement of an order for the same reason violates the ledger's unique key.
 */
export function orderMovement({ orderId, reason, lines, now }: OrderMovement): MovementStatements {
  const sign = reason === "ORDER" ? 1n : -1n;
  const rows = unnestLines(lines);
  return {
    stock: sql`
      update inventory set reserved = reserved + ${sign}::bigint * line.quantity, version = version + 1
      from ${rows} where inventory.product_id = line.product_id`,
    ledger: sql`
      insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
      select product_id, ${sign}::bigint * quantity, ${reason}, ${orderId}::uuid, ${now}::timestamptz, ${now}::timestamptz
      from ${rows}`,
  };
}

/** Creates the stock of new products, and records it in the ledger. */
export async function createStock(tx: Tx, lines: readonly StockLine[], now: Date): Promise<void> {
  if (lines.length === 0) return;
  await tx.query(sql`
    with line as (select * from ${unnestLines(lines)}), stock as (
      insert into inventory (product_id, on_hand) select product_id, quantity from line
    )
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
    select product_id, quantity, 'INITIAL', ${now}, ${now} from line where quantity > 0`);
}

/**
 * Sets the units on hand of products to counted ones, and records the differences in the ledger. The stock must be
 * locked, and the count must differ from it.
 * @param changes the differences, negative for missing units
 * @param now time after the stock was locked
 */
export async function recordRecounts(tx: Tx, changes: readonly StockLine[], now: Date): Promise<void> {
  if (changes.length === 0) return;
  // With "offset 0" the time is computed once for each row, not once for each column.
  await tx.query(sql`
    with line as (select * from ${unnestLines(changes)}), stock as (
      update inventory set on_hand = on_hand + quantity, version = version + 1
      from line where inventory.product_id = line.product_id
    )
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
    select product_id, quantity, 'RECOUNT', time, time
    from line, lateral (select ${recountTime(sql`line.product_id`, now)} as time offset 0) as recorded`);
}

function unnestLines(lines: readonly StockLine[]): RawBuilder<unknown> {
  const productIds = lines.map((line) => line.productId);
  const quantities = lines.map((line) => line.quantity.toString());
  return sql`unnest(${productIds}::uuid[], ${quantities}::bigint[]) as line (product_id, quantity)`;
}
