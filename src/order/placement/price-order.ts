import type { OrderedProduct } from "../../catalog/catalog.ts";
import { availableUnits, type StockLevel } from "../../inventory/inventory.ts";
import { SECOND_MS } from "../../kernel/durations.ts";
import { AppError, notFound, type StateViolation } from "../../kernel/errors.ts";
import { assertAmount } from "../../kernel/money.ts";
import { completeOrder } from "../complete-order.ts";
import type { Order, OrderItem, OrderTotals } from "../order-types.ts";
import type { Placement } from "./placement.ts";

/**
 * Returns the order of a placement at the current prices of its products.
 * @throws AppError failed_precondition for several currencies; invalid_argument for too large an amount
 */
export function priceOrder(
  placement: Placement,
  products: ReadonlyMap<string, OrderedProduct>,
  now: Date,
): Order {
  const items = priceLines(placement.lines, products);
  const currencyCode = singleCurrency(items);
  const totals = addUpTotals(items);
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
    salesRecorded: promotionId !== "" && paymentState === "PAID",
    shippingAddress,
    billingAddress,
    email,
    note,
    shippingOption: undefined,
    etag: "1",
    createTime: now,
    updateTime: now,
    expireTime:
      reservationSeconds === null ? undefined : new Date(now.getTime() + reservationSeconds * SECOND_MS),
  });
}

function priceLines(lines: Placement["lines"], products: ReadonlyMap<string, OrderedProduct>): OrderItem[] {
  return lines.map(({ productId, quantity }, index): OrderItem => {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    const { sku, name, price: unitPrice } = product;
    return {
      id: String(index + 1),
      productId,
      sku,
      name,
      unitPrice,
      quantity,
      totalPrice: { ...unitPrice, minorUnits: unitPrice.minorUnits * quantity },
      tax: { ...unitPrice, minorUnits: 0n },
      cancelledQuantity: 0n,
      fulfilledQuantity: 0n,
      returnedQuantity: 0n,
    };
  });
}

function addUpTotals(items: readonly OrderItem[]): OrderTotals {
  const subtotal = items.reduce((sum, item) => sum + item.totalPrice.minorUnits, 0n);
  assertAmount(subtotal, "order.items");
  return { subtotal, discount: 0n, shipping: 0n, tax: 0n, isTaxIncluded: false, total: subtotal };
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

function singleCurrency(items: readonly OrderItem[]): string {
  const currencies = [...new Set(items.map((item) => item.unitPrice.currencyCode))].sort();
  const [currency = ""] = currencies;
  if (currencies.length <= 1) return currency;
  const description = `its products are priced in ${currencies.join(" and ")}; place one order for each currency`;
  throw new AppError("failed_precondition", `An order has one currency: ${description}.`, {
    reason: "SEVERAL_CURRENCIES",
    preconditions: [{ type: "CURRENCY", subject: "order", description }],
  });
}
