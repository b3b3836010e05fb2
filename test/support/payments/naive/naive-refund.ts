import type { Refunded, Reply } from "../model/payment-shop.ts";
import type { PaymentFlaw } from "./naive-flaws.ts";
import { costOf, type NaiveOrder } from "./naive-order.ts";

/**
 * Divides a refund of an order, in minor units.
 * @param left what is left of its payment
 * @returns the shares of the item and of the shipping, or the reason of a rejection
 */
export function divideRefund(
  order: NaiveOrder,
  refunded: Refunded,
  left: number,
  flaw: PaymentFlaw | undefined,
): number[] | Reply {
  if (refunded.kind === "amount") return refunded.amount > left ? "REFUND_TOO_LARGE" : [refunded.amount];
  if (refunded.kind === "shipping") {
    const amount = Math.min(order.shipping, left);
    return amount === 0 || order.refunds.length > 0 ? "NOTHING_TO_REFUND" : [amount];
  }
  const item = order.items[refunded.item % order.items.length];
  if (item === undefined || item.refunded === item.quantity) return "QUANTITY_TOO_LARGE";
  if (left === 0) return "NOTHING_TO_REFUND";
  const units = order.items.reduce((sum, one) => sum + one.quantity - one.refunded, 0);
  const price = item.total / item.quantity;
  const shipping = (order.shipping * price) / Math.max(costOf(order) - order.shipping, 1);
  item.refunded += 1;
  if (flaw === "refunds are computed by floating-point numbers") return [price, shipping];
  // The last unit takes all that is left.
  const amount = units === 1 ? left : Math.min(Math.floor(price + shipping), left);
  if (amount === 0) item.refunded -= 1;
  return amount === 0 ? "NOTHING_TO_REFUND" : [amount];
}
