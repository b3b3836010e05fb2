import type { OrderedProduct } from "../../catalog/catalog.ts";
import { availableUnits, type StockLevel } from "../../inventory/inventory.ts";
import { SECOND_MS } from "../../kernel/durations.ts";
import { AppError, notFound, type StateViolation } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { completeOrder } from "../complete-order.ts";
import type { Order } from "../order-types.ts";
import { type BasketFields, priceBasket } from "../quote/price-basket.ts";
import type { PricedBasket } from "../quote/quote.ts";
import { assertShipping, quoteChanged } from "../quote/quote-errors.ts";
import type { Placement } from "./placement.ts";

const FIELDS: BasketFields = { items: "order.items", shippingOption: "order.shipping_option" };

/**
 * Returns the order of a placement at the current prices of its products.
 * @throws AppError failed_precondition when the total is not the expected one or a shipping option is missing; as
 *   `priceBasket` does
 */
export function priceOrder(
  placement: Placement,
  products: ReadonlyMap<string, OrderedProduct>,
  now: Date,
): Order {
  const { lines, quoter, shippingOptionId } = placement;
  const priced = priceBasket({ lines, quoter, shippingOptionId, fields: FIELDS }, products);
  assertShipping(priced);
  assertExpectedTotal(placement.expectedTotal, priced);
  const { currencyCode, items, totals, shippingOption } = priced;
  const { orderId, customerId, promotionId, reservationSeconds } = placement;
  const { shippingAddress, billingAddress, email, note } = placement;
  // There is nothing to pay for.
  const paymentState = totals.total === 0n ? "PAID" : "UNPAID";
  return completeOrder({
    id: orderId,
    customerId,
    promotionId,
    paymentState,
    fulfillmentState: "UNFULFILLED",
    closing: "NONE",
    items,
    totals,
    paid: { currencyCode, minorUnits: 0n },
    refunded: { currencyCode, minorUnits: 0n },
    salesRecorded: promotionId !== "" && paymentState === "PAID",
    shippingAddress,
    billingAddress,
    email,
    note,
    shippingOption,
    etag: "1",
    createTime: now,
    updateTime: now,
    expireTime:
      reservationSeconds === null ? undefined : new Date(now.getTime() + reservationSeconds * SECOND_MS),
  });
}

/** @throws QuoteError when the buyer expects another total */
function assertExpectedTotal(expected: Money | undefined, priced: PricedBasket): void {
  if (expected === undefined) return;
  const { currencyCode, totals } = priced;
  if (expected.currencyCode === currencyCode && expected.minorUnits === totals.total) return;
  throw quoteChanged(priced, {
    type: "TOTAL",
    subject: "order",
    description: `the total is ${totals.total} minor units of ${currencyCode}, not ${expected.minorUnits} of ${expected.currencyCode}`,
  });
}

/**
 * Verifies that the products of a placement can be ordered.
 * @throws AppError not_found for an unknown product; failed_precondition that lists each product that is deleted or has
 *   too little stock
 */
export function assertAvailable(
  { lines }: Placement,
  levels: ReadonlyMap<string, StockLevel>,
  products: ReadonlyMap<string, OrderedProduct>,
): void {
  const violations: StateViolation[] = [];
  for (const { productId, quantity } of lines) {
    const level = levels.get(productId);
    const product = products.get(productId);
    if (level === undefined || product === undefined) throw notFound("product", productId);
    const subject = `products/${productId}`;
    const { sku, isActive } = product;
    if (!isActive) {
      violations.push({ type: "DELETED", subject, description: `${sku} is no longer sold` });
    } else if (availableUnits(level) < quantity) {
      const description = `${sku}: ${availableUnits(level)} left, ${quantity} requested`;
      violations.push({ type: "STOCK", subject, description });
    }
  }
  if (violations.length === 0) return;
  const descriptions = violations.map(({ description }) => description).join("; ");
  throw new AppError("failed_precondition", `Insufficient stock: ${descriptions}. Nothing was ordered.`, {
    reason: violations.every(({ type }) => type === "DELETED") ? "PRODUCT_DELETED" : "OUT_OF_STOCK",
    preconditions: violations,
  });
}
