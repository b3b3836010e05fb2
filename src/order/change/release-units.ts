import type { Catalog } from "../../catalog/catalog.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Inventory, StockTransition } from "../../inventory/inventory.ts";
import type { Call } from "../../kernel/call.ts";
import type { Tracker } from "../../tracker/tracker.ts";
import type { Order } from "../order-types.ts";
import { applyChanges, nextSequence, type OrderChange } from "./apply-changes.ts";
import { openUnits } from "./item-units.ts";
import { type RemovedUnits, recordSales, releaseHolds, reverseSales } from "./promotion-purchases.ts";

/** The features that changes of orders write to. */
export interface ChangeTargets {
  catalog: Catalog;
  inventory: Inventory;
  tracker: Tracker;
  /**
   * Runs in the transaction of a change after which all units of some items are cancelled, before products are locked.
   */
  onItemsCancelled?: (tx: Tx, orders: readonly Order[]) => Promise<void>;
}

/** Updates what the catalogue derives from the stock of products and from their units sold. */
async function applyStockTransitions(
  { catalog }: ChangeTargets,
  tx: Tx,
  orders: readonly Order[],
  transitions: readonly StockTransition[],
): Promise<void> {
  const skus = new Map(
    orders.flatMap(({ items }) => items.map(({ productId, sku }) => [productId, sku] as const)),
  );
  await catalog.applyStockChanges(
    tx,
    transitions.map((change) => ({ ...change, sku: skus.get(change.productId) ?? "" })),
  );
}

/** Orders that are being closed. */
export interface ClosedOrders {
  reason: "CANCEL" | "EXPIRE";
  /** The orders before the change. */
  orders: readonly Order[];
  /** Those that close the orders, and others. */
  changes: readonly OrderChange[];
  now: Date;
}

/** Releases the open units of orders that are closed, and writes the changes, as `removeUnits` does. */
export async function releaseOpenUnits(
  targets: ChangeTargets,
  tx: Tx,
  call: Call,
  { orders, ...closed }: ClosedOrders,
): Promise<Order[]> {
  const removals = orders.map((order) => ({ order, units: openUnits(order) }));
  return removeUnits(targets, tx, call, { ...closed, removals });
}

/** Units that are removed from orders. */
export interface Removal {
  /** How the stock changes; undefined if it stays as it is. */
  reason: "CANCEL" | "EXPIRE" | "ORDER_RETURN" | undefined;
  removals: readonly RemovedUnits[];
  /** Orders, without the units, of which nothing is due any more: what is left of them becomes sales. */
  settled?: readonly Order[];
  /** Those that record the removal, and others. */
  changes: readonly OrderChange[];
  now: Date;
}

/**
 * Removes units from orders: from the stock that they have reserved, or back to the units on hand; from what the orders
 * hold or have recorded of their promotions; and from the units sold. Writes the changes of the orders. The orders are
 * locked; promotions, the stock, reviews and products are locked here, in this order as in all transactions.
 * @returns the orders after the changes
 * @throws AppError failed_precondition when a return would exceed the maximum stock
 */
export async function removeUnits(
  targets: ChangeTargets,
  tx: Tx,
  call: Call,
  { reason, removals, settled = [], changes, now }: Removal,
): Promise<Order[]> {
  const { catalog, inventory, tracker, onItemsCancelled } = targets;
  const lines = removals.flatMap(({ order, units }) =>
    units.map(({ item, quantity }) => ({
      orderId: order.id,
      productId: item.productId,
      quantity,
      sequence: nextSequence(order),
    })),
  );
  await releaseHolds(tracker, tx, removals);
  let transitions: StockTransition[] = [];
  if (reason !== undefined) {
    const levels = await inventory.lock(tx, [...new Set(lines.map(({ productId }) => productId))]);
    transitions = await inventory.moveForOrders(tx, reason, lines, levels, now);
  }
  // In the order of CreateOrder: the totals of promotions before the products.
  await reverseSales(tracker, tx, call, removals, now);
  for (const order of settled) await recordSales(tracker, tx, call, order, now);
  const after = await applyChanges(tx, call, changes);
  if (reason === "CANCEL" || reason === "EXPIRE") {
    await onItemsCancelled?.(tx, after.filter(hasCancelledItem));
  }
  const orders = removals.map(({ order }) => order);
  await applyStockTransitions(targets, tx, orders, transitions);
  catalog.recordSales(
    tx,
    lines.map(({ productId, quantity }) => ({ productId, units: -quantity })),
  );
  return after;
}

function hasCancelledItem({ items }: Order): boolean {
  return items.some(({ cancelledQuantity, quantity }) => cancelledQuantity === quantity);
}
