import { AppError, notFound } from "../../kernel/errors.ts";
import type { ItemQuantity } from "../change/item-units.ts";
import { divideByWeights, shareOfUnits } from "./largest-remainder.ts";
import {
  type LinePart,
  partsAmount,
  type RefundParts,
  type RefundShares,
  sharedAmount,
  taxOfShare,
} from "./refund-parts.ts";

/** What is refunded. */
export type RefundSelection =
  /** Units of items, each item once, with or without their share of the shipping. */
  | { kind: "ITEMS"; items: readonly ItemQuantity[]; includeShipping: boolean }
  /** An amount in minor units, divided among all parts. */
  | { kind: "AMOUNT"; amount: bigint }
  /** What is left of the shipping. */
  | { kind: "SHIPPING" };

/** The causes of refunds of 0. */
const CAUSES_OF_ZERO: Readonly<Record<RefundSelection["kind"], string>> = {
  ITEMS: "nothing is left to refund of these units",
  AMOUNT: "the requested amount is 0",
  SHIPPING: "nothing is left to refund of the shipping",
};

/**
 * Divides a refund among the parts that are left of a payment. Amounts are whole: of k of the m units that are left of an
 * item, each takes the same share and the first ones what remains; the last units take all that is left. An amount is
 * divided by the largest-remainder rule.
 * @param left from `refundPartsLeft`
 * @param refundable what can be refunded, in minor units: less than what is left while an amount is disputed
 * @throws AppError not_found for an unknown item; failed_precondition when an item has fewer units left, less can be
 *   refunded, or the amount is 0
 */
export function allocateRefund(
  orderId: string,
  left: RefundParts,
  refundable: bigint,
  selection: RefundSelection,
): RefundShares {
  const shares = sharesOf(orderId, left, refundable, selection);
  const amount = sharedAmount(shares);
  if (amount > refundable) throw refundTooLarge(orderId, amount, refundable);
  if (amount <= 0n) throw nothingToRefund(orderId, CAUSES_OF_ZERO[selection.kind]);
  return shares;
}

function sharesOf(
  orderId: string,
  left: RefundParts,
  refundable: bigint,
  selection: RefundSelection,
): RefundShares {
  const { shipping } = left;
  switch (selection.kind) {
    case "ITEMS":
      return shareItems(orderId, left, selection);
    case "AMOUNT": {
      const all = partsAmount(left);
      if (selection.amount > all) throw refundTooLarge(orderId, selection.amount, refundable);
      const parts = [...left.lines, shipping];
      const amounts = divideByWeights(
        selection.amount,
        parts.map(({ amount }) => amount),
      );
      const lines = left.lines
        .map((line, index) => ({ ...shareOf(line, amounts[index] ?? 0n), quantity: 0n }))
        .filter(({ amount }) => amount > 0n);
      const shippingAmount = amounts.at(-1) ?? 0n;
      return { lines, shippingAmount, shippingTax: taxOfPart(shipping, shippingAmount) };
    }
    case "SHIPPING":
      return { lines: [], shippingAmount: shipping.amount, shippingTax: shipping.tax };
  }
}

function shareItems(
  orderId: string,
  { lines, shipping }: RefundParts,
  { items, includeShipping }: Extract<RefundSelection, { kind: "ITEMS" }>,
): RefundShares {
  const shares = items.map(({ itemId, quantity }) => {
    const line = lines.find((one) => one.itemId === itemId);
    if (line === undefined) throw notFound("order_item", itemId);
    if (quantity > line.units) throw quantityTooLarge(orderId, line, quantity);
    return { ...shareOf(line, shareOfUnits(line.amount, quantity, line.units)), quantity };
  });
  const unitsLeft = lines.reduce((sum, { units }) => sum + units, 0n);
  const isLast = shares.reduce((rest, { quantity }) => rest - quantity, unitsLeft) === 0n;
  if (isLast) shares.push(...restOfLines(lines, shares));
  const linesAmount = lines.reduce((sum, { amount }) => sum + amount, 0n);
  const amount = shares.reduce((sum, share) => sum + share.amount, 0n);
  let shippingAmount = 0n;
  if (includeShipping && isLast) shippingAmount = shipping.amount;
  else if (includeShipping && linesAmount > 0n) shippingAmount = (shipping.amount * amount) / linesAmount;
  return { lines: shares, shippingAmount, shippingTax: taxOfPart(shipping, shippingAmount) };
}

/** Returns what is left of the items that are not named, such as what a dispute that was won has given back. */
function restOfLines(lines: readonly LinePart[], named: readonly { itemId: string }[]) {
  const ids = new Set(named.map(({ itemId }) => itemId));
  return lines
    .filter(({ itemId, amount }) => amount > 0n && !ids.has(itemId))
    .map((line) => ({ ...shareOf(line, line.amount), quantity: 0n }));
}

function shareOf(line: LinePart, amount: bigint): { itemId: string; amount: bigint; tax: bigint } {
  return { itemId: line.itemId, amount, tax: taxOfPart(line, amount) };
}

/** Returns the tax in a share of a part; none in a share of nothing. */
function taxOfPart(part: { amount: bigint; tax: bigint }, amount: bigint): bigint {
  return amount === 0n ? 0n : taxOfShare(part, amount);
}

function quantityTooLarge(orderId: string, { itemId, units }: LinePart, quantity: bigint): AppError {
  const description = `item ${itemId} has ${units} units that are paid and not refunded, ${quantity} requested`;
  return new AppError("failed_precondition", `Nothing was refunded: ${description}.`, {
    reason: "QUANTITY_TOO_LARGE",
    preconditions: [{ type: "QUANTITY", subject: `orders/${orderId}/items/${itemId}`, description }],
  });
}

function refundTooLarge(orderId: string, amount: bigint, refundable: bigint): AppError {
  const description = `${refundable} minor units can be refunded, not ${amount}`;
  return new AppError("failed_precondition", `The refund is too large: ${description}.`, {
    reason: "REFUND_TOO_LARGE",
    metadata: { refundable: refundable.toString() },
    preconditions: [{ type: "AMOUNT", subject: `orders/${orderId}`, description }],
  });
}

/** Returns FAILED_PRECONDITION for a refund of 0. */
export function nothingToRefund(orderId: string, description: string): AppError {
  return new AppError("failed_precondition", `The refund would be 0: ${description}.`, {
    reason: "NOTHING_TO_REFUND",
    preconditions: [{ type: "AMOUNT", subject: `orders/${orderId}`, description }],
  });
}
