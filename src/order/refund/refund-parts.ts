import { priceOfUnits } from "../complete-order.ts";
import type { Order, OrderItem } from "../order-types.ts";
import { divideByWeights } from "./largest-remainder.ts";

/** An amount in minor units, and the tax in it. */
export interface TaxedAmount {
  amount: bigint;
  tax: bigint;
}

/** What of an item can be refunded. */
export interface LinePart extends TaxedAmount {
  itemId: string;
  units: bigint;
}

/** What a payment consists of: the items with their shares of discount and tax, and the shipping with its tax. */
export interface RefundParts {
  lines: readonly LinePart[];
  shipping: TaxedAmount;
}

/** What an earlier refund, or a new one, takes of the parts. */
export interface RefundShares {
  lines: readonly { itemId: string; quantity: bigint; amount: bigint; tax: bigint }[];
  shippingAmount: bigint;
  shippingTax: bigint;
}

/** The parts of an order that refunds depend on. */
export type RefundSubject = Pick<Order, "items" | "totals">;

/** The money of a payment that refunds depend on, in minor units. */
export interface RefundBasis {
  captured: bigint;
  /** What went back without a refund of the service: refunds that the gateway alone has reported, and lost disputes. */
  otherReturns: bigint;
  /** The units of items that were cancelled before they were paid, by the id of the item. */
  cancelledUnits: ReadonlyMap<string, bigint>;
  /** The refunds of the payment that have not failed. */
  earlier: readonly RefundShares[];
}

/**
 * Returns what is left of the parts of a payment. Their sum is exactly what was captured and has not gone back: if less or
 * more was captured than the parts cost, the difference is divided among them by the largest-remainder rule.
 */
export function refundPartsLeft(order: RefundSubject, basis: RefundBasis): RefundParts {
  const { captured, otherReturns, cancelledUnits, earlier } = basis;
  const kept = greatest(captured - otherReturns, 0n);
  const paid = adjustTo(kept, pricedParts(order, cancelledUnits));
  const left: RefundParts = {
    lines: paid.lines.map((line) => {
      const shares = earlier.flatMap(({ lines }) => lines.filter(({ itemId }) => itemId === line.itemId));
      const amount = without(line.amount, shares, "amount");
      const tax = least(without(line.tax, shares, "tax"), amount);
      return { itemId: line.itemId, units: without(line.units, shares, "quantity"), amount, tax };
    }),
    shipping: shippingLeft(paid.shipping, earlier),
  };
  const returned = earlier.reduce((sum, shares) => sum + sharedAmount(shares), 0n);
  return adjustTo(greatest(kept - returned, 0n), left);
}

function shippingLeft(paid: TaxedAmount, earlier: readonly RefundShares[]): TaxedAmount {
  const amount = without(paid.amount, earlier, "shippingAmount");
  return { amount, tax: least(without(paid.tax, earlier, "shippingTax"), amount) };
}

/** Returns the amount of a refund. */
export function sharedAmount({ lines, shippingAmount }: RefundShares): bigint {
  return lines.reduce((sum, { amount }) => sum + amount, shippingAmount);
}

/** Returns the sum of the parts. */
export function partsAmount({ lines, shipping }: RefundParts): bigint {
  return lines.reduce((sum, { amount }) => sum + amount, shipping.amount);
}

/** Returns the tax in a share of a part, rounded down; all of it in the whole part. */
export function taxOfShare({ amount, tax }: TaxedAmount, share: bigint): bigint {
  if (share >= amount) return tax;
  return (tax * share) / amount;
}

/** Returns the prices of the parts, without the units that were cancelled before they were paid. */
function pricedParts(
  { items, totals }: RefundSubject,
  cancelledUnits: ReadonlyMap<string, bigint>,
): RefundParts {
  const { isTaxIncluded } = totals;
  const cancelledOf = ({ id }: OrderItem) => cancelledUnits.get(id) ?? 0n;
  // A cancellation takes the full price of its units from what is due: the discount is one on the other units.
  const discounts = divideByWeights(
    -totals.discount,
    items.map((item) => item.unitPrice.minorUnits * (item.quantity - cancelledOf(item))),
  );
  const lines = items.map((item, index): LinePart => {
    const { totalPrice, tax, quantity } = item;
    const cancelled = cancelledOf(item);
    const addedTax = isTaxIncluded ? 0n : tax.minorUnits;
    const price = totalPrice.minorUnits + addedTax - priceOfUnits(item, cancelled, totals);
    const amount = greatest(price - (discounts[index] ?? 0n), 0n);
    // A discount can leave less of the price than the tax of the full one.
    const taxLeft = least(tax.minorUnits - (tax.minorUnits * cancelled) / quantity, amount);
    return { itemId: item.id, units: quantity - cancelled, amount, tax: taxLeft };
  });
  const shippingTax = items.reduce((rest, { tax }) => rest - tax.minorUnits, totals.tax);
  const amount = totals.shipping + (isTaxIncluded ? 0n : shippingTax);
  return { lines, shipping: { amount, tax: least(shippingTax, amount) } };
}

/** Returns the parts with a sum that is exactly `target`. The difference is divided by their amounts. */
function adjustTo(target: bigint, parts: RefundParts): RefundParts {
  const sum = partsAmount(parts);
  if (sum === target) return parts;
  const all: readonly TaxedAmount[] = [...parts.lines, parts.shipping];
  const isMore = target > sum;
  const differences = divideByWeights(
    isMore ? target - sum : sum - target,
    all.map(({ amount }) => amount),
  );
  const adjusted = all.map((part, index): TaxedAmount => {
    const difference = differences[index] ?? 0n;
    const amount = part.amount + (isMore ? difference : -difference);
    return { amount, tax: isMore ? part.tax : taxOfShare(part, amount) };
  });
  return {
    lines: parts.lines.map((line, index) => ({ ...line, ...adjusted[index] })),
    shipping: adjusted.at(-1) ?? parts.shipping,
  };
}

/** Returns a value without those of shares, at least 0. */
function without<Key extends string>(
  value: bigint,
  shares: readonly Readonly<Record<Key, bigint>>[],
  key: Key,
): bigint {
  return greatest(
    shares.reduce((rest, share) => rest - share[key], value),
    0n,
  );
}

const greatest = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
