import fc from "fast-check";
import { expect, test } from "vitest";
import { allocateRefund } from "../../../../src/order/refund/allocate-refund.ts";
import {
  partsAmount,
  type RefundParts,
  type RefundShares,
  refundPartsLeft,
  sharedAmount,
} from "../../../../src/order/refund/refund-parts.ts";
import { amountDue, paidOrders, refundAll, refundSteps } from "../../../support/orders/refund-sequences.ts";

const sumOf = (refunds: readonly RefundShares[]) =>
  refunds.reduce((sum, refund) => sum + sharedAmount(refund), 0n);

test("the parts of an order that is paid are what was due, whichever units were cancelled before", () => {
  fc.assert(
    fc.property(paidOrders, ({ order, cancelledUnits }) => {
      const due = amountDue(order, cancelledUnits);
      const prices = order.items.map(
        (item) => item.unitPrice.minorUnits * (item.quantity - (cancelledUnits.get(item.id) ?? 0n)),
      );
      fc.pre(due > 0n && prices.reduce((rest, price) => rest + price, order.totals.discount) >= 0n);
      const unadjusted = { otherReturns: 0n, cancelledUnits, earlier: [] };
      const { shipping } = refundPartsLeft(order, { captured: due, ...unadjusted });
      const shippingTax = order.items.reduce((rest, { tax }) => rest - tax.minorUnits, order.totals.tax);
      expect(shipping.amount).toBe(order.totals.shipping + (order.totals.isTaxIncluded ? 0n : shippingTax));
    }),
  );
});

test("whatever is refunded and reported, no minor unit is lost or made, and refunding the rest gives what was captured", () => {
  fc.assert(
    fc.property(paidOrders, refundSteps, (paid, steps) => {
      const payment = refundAll(paid, steps, allocateRefund, (left, refund) => {
        expectValid(left);
        if (refund !== undefined) expectWithin(left, refund);
      });
      expect(sumOf(payment.refunds) + payment.otherReturns).toBe(payment.captured);
    }),
    { numRuns: 500 },
  );
});

/** Expects amounts that the columns of refunds can store. */
function expectValid({ lines, shipping }: RefundParts): void {
  for (const { amount, tax } of [...lines, shipping]) {
    expect(amount >= 0n && tax >= 0n && tax <= amount).toBe(true);
  }
}

/** Expects a refund that takes no more than is left of each part. */
function expectWithin(left: RefundParts, { lines, shippingAmount, shippingTax }: RefundShares): void {
  const before = new Map(left.lines.map((line) => [line.itemId, line]));
  for (const { itemId, quantity, amount, tax } of lines) {
    const line = before.get(itemId);
    expect(line !== undefined && quantity <= line.units && amount <= line.amount).toBe(true);
    expect(amount >= 0n && tax >= 0n && tax <= amount).toBe(true);
  }
  expect(shippingAmount >= 0n && shippingAmount <= left.shipping.amount).toBe(true);
  expect(shippingTax >= 0n && shippingTax <= shippingAmount).toBe(true);
  expect(partsAmount(left) >= sumOf([{ lines, shippingAmount, shippingTax }])).toBe(true);
}

test("units of an item are worth the same alone, one after the other, and together", () => {
  fc.assert(
    fc.property(paidOrders, (paid) => {
      const { order, captured, cancelledUnits } = paid;
      const basis = { captured, otherReturns: 0n, cancelledUnits };
      const whole = refundPartsLeft(order, { ...basis, earlier: [] });
      for (const { itemId, units, amount } of whole.lines) {
        const earlier: RefundShares[] = [];
        for (let unit = 0n; unit < units && amount > 0n; unit += 1n) {
          const left = refundPartsLeft(order, { ...basis, earlier });
          const line = left.lines.find((one) => one.itemId === itemId);
          if (line?.amount === 0n) break;
          const selection = {
            kind: "ITEMS",
            items: [{ itemId, quantity: 1n }],
            includeShipping: false,
          } as const;
          earlier.push(allocateRefund("order", left, partsAmount(left), selection));
        }
        const taken = earlier.flatMap(({ lines }) => lines).filter((share) => share.itemId === itemId);
        expect(taken.reduce((sum, share) => sum + share.amount, 0n)).toBe(amount);
        const amounts = taken.map((share) => share.amount);
        expect(amounts.every((one) => (amounts[0] ?? 0n) - one <= 1n)).toBe(true);
      }
    }),
  );
});

/**
 * Returns a division that refunds units at the price of one unit as a decimal number, rounded to minor units, and
 * everything else exactly.
 */
function createFloatAllocation(): typeof allocateRefund {
  const prices = new Map<string, number>();
  return (orderId, left, refundable, selection) => {
    for (const { itemId, units, amount } of left.lines) {
      if (!prices.has(itemId)) prices.set(itemId, Number(amount) / 100 / Number(units));
    }
    const exact = allocateRefund(orderId, left, refundable, selection);
    return {
      ...exact,
      lines: exact.lines.map((share) => {
        if (share.quantity === 0n) return share;
        const price = (prices.get(share.itemId) ?? 0) * Number(share.quantity);
        return { ...share, amount: BigInt(Math.round(price * 100)) };
      }),
    };
  };
}

test("refunds of units at a price by floating point lose and make minor units, which is noticed", () => {
  const differences = fc
    .sample(fc.tuple(paidOrders, refundSteps), { numRuns: 1_000, seed: 14 })
    .map(([paid, steps]) => ({ paid, units: steps.filter(({ kind }) => kind === "ITEMS") }))
    .map(({ paid, units }) => {
      const { captured, refunds } = refundAll(paid, units, createFloatAllocation());
      return sumOf(refunds) - captured;
    });
  expect(differences.some((difference) => difference < 0n)).toBe(true);
  expect(differences.some((difference) => difference > 0n)).toBe(true);
});
