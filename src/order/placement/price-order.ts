import type { OrderedProduct } from "../../catalog/catalog.ts";
import { availableUnits, type StockLevel } from "../../inventory/inventory.ts";
import { AppError, notFound, type StateViolation } from "../../kernel/errors.ts";
import { assertAmount } from "../../kernel/money.ts";
import type { Order, OrderItem } from "../order-row.ts";
import { allowedTransitions } from "../order-state.ts";
import type { Placement } from "./placement.ts";

/**
 * Returns the order of a placement at the current prices of its products.
 * @throws AppError failed_precondition for several currencies; invalid_argument for too large an amount
 */
export function priceOrder(
  { orderId, customerId, promotionId, lines }: Placement,
  products: ReadonlyMap<string, OrderedProduct>,
  now: Date,
): Order {
  const items = lines.map(({ productId, quantity }): OrderItem => {
    const product = products.get(productId);
    if (product === undefined) throw notFound("product", productId);
    const { sku, name, price: unitPrice } = product;
    const totalPrice = { ...unitPrice, minorUnits: unitPrice.minorUnits * quantity };
    return { productId, sku, name, unitPrice, quantity, totalPrice };
  });
  const minorUnits = items.reduce((sum, item) => sum + item.totalPrice.minorUnits, 0n);
  const totalPrice = { currencyCode: singleCurrency(items), minorUnits };
  assertAmount(minorUnits, "order.items");
  return {
    id: orderId,
    customerId,
    promotionId,
    items,
    state: "PENDING",
    totalPrice,
    allowedTransitions: allowedTransitions("PENDING"),
    etag: "1",
    createTime: now,
    updateTime: now,
  };
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
