import type { Tx } from "../infra/postgres/postgres.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError } from "../kernel/errors.ts";
import type { StockAdjustment } from "./adjustment-rules.ts";
import { adjustStocks } from "./stock-adjustment.ts";
import { checkToken } from "./stock-fence.ts";
import { lockStock, readStock, type StockLevel } from "./stock-level.ts";
import {
  createStock,
  moveForOrders,
  moveForOrdersIfCurrent,
  type OrderLine,
  type OrderMovement,
  type StockLine,
} from "./stock-movement.ts";
import type { StockTransition } from "./stock-transition.ts";

export {
  MAX_STOCK,
  type StockAdjustment,
  type StockReason,
} from "./adjustment-rules.ts";
export {
  listStockMovements,
  type MovementListRequest,
  type MovementReason,
  type StockMovement,
} from "./movement-list.ts";
export { StaleTokenError } from "./stock-fence.ts";
export { availableUnits, type StockLevel, stockQuantity } from "./stock-level.ts";
export type { OrderLine, OrderMovement, StockLine } from "./stock-movement.ts";
export { crossesZero, type StockTransition } from "./stock-transition.ts";

/**
 * Stock and its ledger. Products are identified by id. All methods are part of the caller's transaction. The caller
 * keeps what it derives from the stock, such as the availability of products, up to date in the same transaction.
 */
export interface Inventory {
  /**
   * Locks the stock of products in id order until the transaction ends.
   * @returns the stock by product id; unknown products are absent
   */
  lock(tx: Tx, productIds: readonly string[]): Promise<Map<string, StockLevel>>;
  /**
   * Records the fencing token of a lock under which the transaction changes the stock of products. Called before all
   * other locks of the transaction.
   * @throws StaleTokenError when a transaction with a higher token has committed: nothing may be written
   */
  checkToken(tx: Tx, productIds: readonly string[], token: bigint): Promise<void>;
  /** Creates the stock of new products, and records it in the ledger. */
  create(tx: Tx, lines: readonly StockLine[], now: Date): Promise<void>;
  /**
   * Changes the units on hand of a product and records the change in the ledger.
   * @throws AppError not_found for an unknown product, aborted when the stock is not the expected one,
   *   failed_precondition when it would leave its range or a later recount exists, invalid_argument when
   *   `effectiveTime` is in the future
   */
  adjust(tx: Tx, adjustment: StockAdjustment): Promise<StockTransition>;
  /**
   * Changes the units on hand of products, one adjustment after the other, and records the changes in the ledger.
   * @returns for each adjustment the stock of its product before and after it, or the error of `adjust` for which it
   *   changes nothing
   */
  adjustAll(tx: Tx, adjustments: readonly StockAdjustment[]): Promise<(StockTransition | AppError)[]>;
  /**
   * Changes the units on hand like `adjustAll`, of products whose stock is locked.
   * @param levels stock of the products
   * @param now time after the stock was locked
   */
  adjustLocked(
    tx: Tx,
    levels: ReadonlyMap<string, StockLevel>,
    adjustments: readonly StockAdjustment[],
    now: Date,
  ): Promise<(StockTransition | AppError)[]>;
  /** Returns the stock of products by id without locking it; unknown products are absent. */
  read(tx: Pick<Tx, "query">, productIds: readonly string[]): Promise<Map<string, StockLevel>>;
  /**
   * Moves the units of orders, whose stock is locked, and records that in the ledger: ORDER reserves them, CANCEL and
   * EXPIRE release them, SHIP removes them from the units on hand and the reserved ones, ORDER_RETURN adds them to those
   * on hand. Several events of an order may move parts of its units.
   * @param levels stock of the products before the change
   * @param now time after the stock was locked
   * @returns the changes of the stock, one for each product
   * @throws AppError failed_precondition when a return would exceed the maximum stock
   */
  moveForOrders(
    tx: Tx,
    reason: OrderMovement,
    lines: readonly OrderLine[],
    levels: ReadonlyMap<string, StockLevel>,
    now: Date,
  ): Promise<StockTransition[]>;
  /**
   * Moves the units of orders like `moveForOrders`, of stock that was read without a lock.
   * @returns the changes of the stock; undefined, after which the transaction must be rolled back, if a product no longer
   *   has the version that was read
   */
  moveForOrdersIfCurrent(
    tx: Tx,
    reason: OrderMovement,
    lines: readonly OrderLine[],
    levels: ReadonlyMap<string, StockLevel>,
    now: Date,
  ): Promise<StockTransition[] | undefined>;
}

/** Creates the inventory. */
export function createInventory({ clock }: { clock: Clock }): Inventory {
  const adjustAll: Inventory["adjustAll"] = async (tx, adjustments) => {
    const levels = await lockStock(tx, [...new Set(adjustments.map(({ productId }) => productId))]);
    return adjustStocks(tx, levels, adjustments, clock.now());
  };
  return {
    lock: lockStock,
    checkToken,
    create: createStock,
    async adjust(tx, adjustment) {
      const [outcome] = await adjustAll(tx, [adjustment]);
      if (outcome instanceof AppError) throw outcome;
      if (outcome === undefined) throw new Error("the adjustment has no outcome");
      return outcome;
    },
    adjustAll,
    adjustLocked: adjustStocks,
    read: readStock,
    moveForOrders,
    moveForOrdersIfCurrent,
  };
}
