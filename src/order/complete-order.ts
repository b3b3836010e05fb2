import type { Money } from "../kernel/money.ts";
import type { Order, OrderFields, OrderItem, OrderTotals } from "./order-types.ts";
import { isUnpaid, overallState } from "./state/order-state.ts";
import { allowedTransitions } from "./state/transitions.ts";

/** Returns an order with what follows from its other parts. */
export function completeOrder(fields: OrderFields): Order {
  const money = (minorUnits: bigint): Money => ({ ...fields.paid, minorUnits });
  const { paymentState, fulfillmentState, closing } = fields;
  const isWaiting =
    isUnpaid(paymentState) &&
    fulfillmentState === "UNFULFILLED" &&
    (closing === "NONE" || closing === "EXPIRING");
  return {
    ...fields,
    state: overallState(fields),
    totalPrice: money(fields.totals.total),
    amountDue: money(amountDue(fields)),
    allowedTransitions: allowedTransitions(fields),
    expireTime: isWaiting ? fields.expireTime : undefined,
  };
}

function amountDue(order: OrderFields): bigint {
  const { closing, paymentState, paid } = order;
  const isOpen = closing === "NONE" || closing === "EXPIRING";
  if (!isOpen || (!isUnpaid(paymentState) && paymentState !== "AUTHORIZED")) return 0n;
  const due = payableAmount(order) - paid.minorUnits;
  return due > 0n ? due : 0n;
}

/** Returns what an order costs without its cancelled units, in minor units: paid or not. */
export function payableAmount({ totals, items }: Pick<OrderFields, "totals" | "items">): bigint {
  const cancelled = items.reduce((sum, item) => sum + priceOfUnits(item, item.cancelledQuantity, totals), 0n);
  return totals.total - cancelled;
}

/**
 * Returns what some units of an item cost, with the tax that is on top of the price: the share of the item's tax, rounded
 * down, and all of it for all units.
 */
export function priceOfUnits(
  { unitPrice, quantity, tax }: OrderItem,
  units: bigint,
  { isTaxIncluded }: Pick<OrderTotals, "isTaxIncluded">,
): bigint {
  const addedTax = isTaxIncluded ? 0n : (tax.minorUnits * units) / quantity;
  return unitPrice.minorUnits * units + addedTax;
}
