import { assertAmount } from "../../kernel/money.ts";
import type { Basket, Quote, ShippingOption } from "./quote.ts";

/** The amounts of an order, in minor units of its currency. */
export interface Totals {
  subtotal: bigint;
  /** 0 or negative. */
  discount: bigint;
  shipping: bigint;
  /** All tax: of the items and of the shipping. */
  tax: bigint;
  /** The part of `tax` that is on the shipping. */
  shippingTax: bigint;
  /** Whether subtotal and shipping include the tax. If not, it is added to them. */
  taxIncluded: boolean;
  total: bigint;
}

/**
 * Returns the totals of a basket.
 * @param quote undefined for a basket without an address: no tax and no shipping
 * @param option of the quote; undefined if none is chosen
 * @throws AppError invalid_argument when the total is too large
 */
export function totalsOf(
  { lines }: Pick<Basket, "lines">,
  quote: Quote | undefined,
  option: ShippingOption | undefined,
): Totals {
  const subtotal = lines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0n);
  const discount = 0n;
  const shipping = option?.price ?? 0n;
  const shippingTax = option?.tax ?? 0n;
  const tax = (quote?.lineTaxes ?? []).reduce((sum, one) => sum + one, shippingTax);
  const taxIncluded = quote?.taxIncluded ?? false;
  const total = subtotal + discount + shipping + (taxIncluded ? 0n : tax);
  assertAmount(total, "order.items");
  return { subtotal, discount, shipping, tax, shippingTax, taxIncluded, total };
}
