import type { OrderItem } from "../../../src/order/order.ts";
import type { RefundSubject } from "../../../src/order/refund/refund-parts.ts";

/** A line of an order: all amounts in minor units. */
export interface LineInput {
  unitPrice: bigint;
  quantity: bigint;
  /** Of all units. */
  tax: bigint;
}

/** What an order consists of. */
export interface OrderInput {
  lines: readonly LineInput[];
  isTaxIncluded?: boolean;
  /** 0 or negative. */
  discount?: bigint;
  shipping?: bigint;
  shippingTax?: bigint;
}

/** Returns an order whose totals add up. */
export function orderOf(input: OrderInput): RefundSubject {
  const { lines, isTaxIncluded = false, discount = 0n, shipping = 0n, shippingTax = 0n } = input;
  const money = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
  const items = lines.map(
    ({ unitPrice, quantity, tax }, index): OrderItem => ({
      id: String(index + 1),
      productId: `product ${index + 1}`,
      sku: `SKU-${index + 1}`,
      name: `Product ${index + 1}`,
      unitPrice: money(unitPrice),
      quantity,
      totalPrice: money(unitPrice * quantity),
      tax: money(tax),
      cancelledQuantity: 0n,
      fulfilledQuantity: 0n,
      returnedQuantity: 0n,
    }),
  );
  const subtotal = items.reduce((sum, { totalPrice }) => sum + totalPrice.minorUnits, 0n);
  const tax = items.reduce((sum, item) => sum + item.tax.minorUnits, shippingTax);
  const total = subtotal + discount + shipping + (isTaxIncluded ? 0n : tax);
  return { items, totals: { subtotal, discount, shipping, tax, isTaxIncluded, total } };
}
