import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Money } from "../../kernel/money.ts";
import type { Tracker } from "../../tracker/tracker.ts";
import type { Order, OrderItem } from "../order-types.ts";
import type { ItemUnits } from "./item-units.ts";

/** Units of an order that are cancelled or returned. */
export interface RemovedUnits {
  /** The order before the change. */
  order: Order;
  units: readonly ItemUnits[];
}

/**
 * Records the units of a locked order that are left as sales of its promotion, once: when it is authorized or paid.
 * @returns what changes of the order
 */
export async function recordSales(
  tracker: Tracker,
  tx: Tx,
  call: Call,
  order: Order,
  now: Date,
): Promise<Pick<Order, "salesRecorded">> {
  if (!isSaleMissing(order)) return { salesRecorded: order.salesRecorded };
  await recordSalesOfAll(tracker, tx, call, [order], now);
  return { salesRecorded: true };
}

/** Returns whether the units of an order are not recorded as sales of its promotion yet. */
export function isSaleMissing({ promotionId, salesRecorded }: Order): boolean {
  return promotionId !== "" && !salesRecorded;
}

/** Records the units of locked orders that are left as sales of their promotions. Each of them is missing. */
export async function recordSalesOfAll(
  tracker: Tracker,
  tx: Tx,
  { clientAddress }: Call,
  orders: readonly Order[],
  now: Date,
): Promise<void> {
  const promoted = orders.map(({ id: orderId, promotionId, customerId, items }) => ({
    orderId,
    promotionId,
    customerId,
    clientAddress,
    items: items
      .filter((item) => unitsLeft(item) > 0n)
      .map((item) => ({ productId: item.productId, amount: priceOf(item, unitsLeft(item)) })),
  }));
  await tracker.recordOrders(tx, promoted, now);
}

/**
 * Returns the purchases that unpaid orders hold for items whose last units are removed. The orders are locked, the stock is
 * not yet.
 */
export async function releaseHolds(
  tracker: Tracker,
  tx: Tx,
  removals: readonly RemovedUnits[],
): Promise<void> {
  const releases = removals
    .filter(({ order }) => order.promotionId !== "" && !order.salesRecorded)
    .map(({ order, units }) => ({ orderId: order.id, purchases: units.filter(isLast).length }))
    .filter(({ purchases }) => purchases > 0);
  await tracker.releaseHolds(tx, releases);
}

/** Reverses the sales of removed units. To be called after the stock was changed, and before the products are. */
export async function reverseSales(
  tracker: Tracker,
  tx: Tx,
  { clientAddress }: Call,
  removals: readonly RemovedUnits[],
  now: Date,
): Promise<void> {
  const reversals = removals
    .filter(({ order, units }) => order.salesRecorded && units.length > 0)
    .map(({ order: { id: orderId, promotionId, customerId }, units }) => ({
      orderId,
      promotionId,
      customerId,
      clientAddress,
      items: units.map((one) => ({
        productId: one.item.productId,
        amount: priceOf(one.item, one.quantity),
        isLast: isLast(one),
      })),
    }));
  await tracker.reverseOrders(tx, reversals, now);
}

/** Returns the units of an item that are neither cancelled nor returned. */
function unitsLeft({ quantity, cancelledQuantity, returnedQuantity }: OrderItem): bigint {
  return quantity - cancelledQuantity - returnedQuantity;
}

function isLast({ item, quantity }: ItemUnits): boolean {
  return unitsLeft(item) === quantity;
}

function priceOf({ unitPrice }: OrderItem, units: bigint): Money {
  return { ...unitPrice, minorUnits: unitPrice.minorUnits * units };
}
