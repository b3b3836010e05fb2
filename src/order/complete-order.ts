import type { Money } from "../kernel/money.ts";
import type { Order, OrderFields, OrderItem, OrderTotals } from "./order-types.ts";
import { isUnpaid, overallState } from "./state/order-state.ts";
import { allowedTransitions } from "./state/transitions.ts";

/** Returns an order with what follows from its other parts. */
export function completeOrder(fields: OrderFields): Order {
  const money = (minorUnits: bigint): Money => ({ ...fields.paid, minorUnits });
  const isWaiting =
    isUnpaid(fields.paymentState) && (fields.closing === "NONE" || fields.closing === "EXPIRING");
  return {
    ...fields,
    state: overallState(fields),
    totalPrice: money(fields.totals.total),
    amountDue: money(amountDue(fields)),
    allowedTransitions: allowedTransitions(fields),
    expireTime: isWaiting ? fields.expireTime : undefined,
  };
}

function amountDue({ closing, paymentState, totals, items, paid }: OrderFields): bigint {
  const isOpen = closing === "NONE" || closing === "EXPIRING";
  if (!isOpen || (!isUnpaid(paymentState) && paymentState !== "AUTHORIZED")) return 0n;
  const cancelled = items.reduce(
    (sum, item) => sum + priceOfUnits(item, 0n, item.cancelledQuantity, totals),
    0n,
  );
  const due = totals.total - cancelled - paid.minorUnits;
  return due > 0n ? due : 0n;
}

/**
 * Returns what some units of an item cost, with the tax that is on top of the price. The tax of an item is divided among
 * its units so that all parts add up to it.
 * @param before number of units that were counted before
 */
export function priceOfUnits(
  { unitPrice, quantity, tax }: OrderItem,
  before: bigint,
  units: bigint,
  { isTaxIncluded }: Pick<OrderTotals, "isTaxIncluded">,
): bigint {
  const taxOf = (count: bigint) => (tax.minorUnits * count) / quantity;
  const addedTax = isTaxIncluded ? 0n : taxOf(before + units) - taxOf(before);
  return unitPrice.minorUnits * units + addedTax;
}
