import type { RawBuilder } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import type { Clock } from "../kernel/clock.ts";
import { findOutdatedRecounts } from "./recount.ts";
import { adjustStock, type StockAdjustment } from "./stock-adjustment.ts";
import { lockStock, type StockLevel } from "./stock-level.ts";
import {
  type MovementStatements,
  type OrderMovement,
  orderMovement,
  recordStock,
  type StockChange,
} from "./stock-movement.ts";

export { LATER_COUNT_RECORDED, type StockAdjustment, type StockReason } from "./stock-adjustment.ts";
export type { StockLevel } from "./stock-level.ts";
export type { MovementStatements, OrderMovement, StockChange, StockLine } from "./stock-movement.ts";

/** Stock and its ledger. Products are identified by id. All methods are part of the caller's transaction. */
export interface Inventory {
  /**
   * Locks the stock of products in id order until the transaction ends.
   * @param columns columns of the product's row that are selected in the same round trip
   * @returns the stock by product id; unknown products are absent
   */
  lock<Columns>(
    tx: Tx,
    productIds: readonly string[],
    columns: RawBuilder<Columns>,
  ): Promise<Map<string, StockLevel<Columns>>>;
  /**
   * Changes the stock of a product and records the change in the ledger.
   * @returns the units on hand before the change
   * @throws AppError not_found for an unknown product, aborted when the stock is not the expected one,
   *   failed_precondition when it would leave its range or a later recount exists, invalid_argument when
   *   `effectiveTime` is in the future
   */
  adjust(tx: Tx, adjustment: StockAdjustment): Promise<bigint>;
  /** Returns the statements that move the stock of an order's locked products and record it in the ledger. */
  orderMovement(movement: OrderMovement): MovementStatements;
  /**
   * Inserts changes of the stock of locked products, which the caller writes itself, into the ledger.
   * @param now time after the products were locked
   */
  record(tx: Tx, reason: "INITIAL" | "RECOUNT", changes: readonly StockChange[], now: Date): Promise<void>;
  /**
   * Returns those of the locked products for which a recount with a time later than `now` is recorded, so that a
   * recount without a time of its own is outdated.
   * @param now time after the products were locked
   */
  findOutdatedRecounts(tx: Tx, productIds: readonly string[], now: Date): Promise<Set<string>>;
}

/** Creates the inventory. */
export function createInventory({ clock }: { clock: Clock }): Inventory {
  return {
    lock: lockStock,
    adjust: (tx, adjustment) => adjustStock(tx, adjustment, clock),
    orderMovement,
    record: recordStock,
    findOutdatedRecounts: (tx, productIds, now) => findOutdatedRecounts(tx, productIds, undefined, now),
  };
}
