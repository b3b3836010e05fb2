import { assertAmount } from "../../kernel/money.ts";
import type { OrderTotals, ShippingOption } from "../order-types.ts";
import type { Quote } from "./quote.ts";

/**
 * Returns the totals of an order. The amounts are not checked.
 * @param subtotal sum of the prices of the lines
 * @param option of the quote; undefined if none is chosen
 */
export function addUpTotals(
  subtotal: bigint,
  { lineTaxes, isTaxIncluded }: Pick<Quote, "lineTaxes" | "isTaxIncluded">,
  option: ShippingOption | undefined,
): OrderTotals {
  const discount = 0n;
  const shipping = option?.price.minorUnits ?? 0n;
  let tax = option?.tax.minorUnits ?? 0n;
  for (const lineTax of lineTaxes) tax += lineTax;
  const total = subtotal + discount + shipping + (isTaxIncluded ? 0n : tax);
  return { subtotal, discount, shipping, tax, isTaxIncluded, total };
}

/** The subtotal alone is checked before. */
const TOTAL_TOO_LARGE =
  "the total with shipping and tax is too large. Order less, or check the rates of the shipping zone and the tax zone.";

/**
 * Returns the totals of an order as `addUpTotals` does.
 * @param field path of the items in the request
 * @throws AppError invalid_argument when the total is too large
 */
export function totalsOf(field: string, ...amounts: Parameters<typeof addUpTotals>): OrderTotals {
  const totals = addUpTotals(...amounts);
  assertAmount(totals.total, field, TOTAL_TOO_LARGE);
  return totals;
}
