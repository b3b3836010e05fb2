import fc from "fast-check";
import { expect, test } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import { allocateRefund, type RefundSelection } from "../../../../src/order/refund/allocate-refund.ts";
import {
  partsAmount,
  type RefundBasis,
  type RefundShares,
  refundPartsLeft,
  sharedAmount,
} from "../../../../src/order/refund/refund-parts.ts";
import { type LineInput, orderOf } from "../../../support/orders/refund-fixtures.ts";

const line = (unitPrice: bigint, quantity: bigint, tax = 0n): LineInput => ({ unitPrice, quantity, tax });
const basis = (captured: bigint, further: Partial<RefundBasis> = {}): RefundBasis => ({
  captured,
  otherReturns: 0n,
  cancelledUnits: new Map(),
  earlier: [],
  ...further,
});
const items = (quantities: Readonly<Record<string, bigint>>, includeShipping = false): RefundSelection => ({
  kind: "ITEMS",
  items: Object.entries(quantities).map(([itemId, quantity]) => ({ itemId, quantity })),
  includeShipping,
});

/** Makes refunds one after the other. */
function refundAll(
  order: ReturnType<typeof orderOf>,
  money: RefundBasis,
  selections: readonly RefundSelection[],
): RefundShares[] {
  const earlier = [...money.earlier];
  for (const selection of selections) {
    const left = refundPartsLeft(order, { ...money, earlier });
    earlier.push(allocateRefund("order", left, partsAmount(left), selection));
  }
  return earlier.slice(money.earlier.length);
}

test("units are refunded with their share of the added tax, the first ones with what is left over", () => {
  const order = orderOf({ lines: [line(333n, 3n, 100n)] });
  const refunds = refundAll(order, basis(1_099n), [items({ 1: 1n }), items({ 1: 1n }), items({ 1: 1n })]);
  expect(refunds.map(sharedAmount)).toEqual([367n, 366n, 366n]);
  expect(refunds.flatMap(({ lines }) => lines.map(({ tax }) => tax))).toEqual([33n, 33n, 34n]);
});

test("included tax is part of the amount", () => {
  const order = orderOf({ lines: [line(1_000n, 2n, 319n)], isTaxIncluded: true });
  const [refund] = refundAll(order, basis(2_000n), [items({ 1: 1n })]);
  expect(refund?.lines).toEqual([{ itemId: "1", quantity: 1n, amount: 1_000n, tax: 159n }]);
});

test("the discount is divided among the items by their prices", () => {
  const order = orderOf({ lines: [line(100n, 1n), line(200n, 1n)], discount: -100n });
  const refunds = refundAll(order, basis(200n), [items({ 1: 1n }), items({ 2: 1n })]);
  expect(refunds.map(sharedAmount)).toEqual([67n, 133n]);
});

test("shipping is refunded by the value of the units, and all of it with the last ones", () => {
  const order = orderOf({ lines: [line(100n, 2n), line(100n, 1n)], shipping: 50n, shippingTax: 10n });
  const selections = [items({ 1: 1n }, true), items({ 1: 1n, 2: 1n }, true)];
  const refunds = refundAll(order, basis(360n), selections);
  expect(refunds.map(({ shippingAmount, shippingTax }) => [shippingAmount, shippingTax])).toEqual([
    [20n, 3n],
    [40n, 7n],
  ]);
  expect(refunds.map(sharedAmount)).toEqual([120n, 240n]);
});

test("the shipping alone, and then the rest, are what was captured", () => {
  const order = orderOf({ lines: [line(100n, 1n, 19n)], shipping: 50n, shippingTax: 10n });
  const refunds = refundAll(order, basis(179n), [{ kind: "SHIPPING" }, items({ 1: 1n }, true)]);
  expect(refunds.map(sharedAmount)).toEqual([60n, 119n]);
});

test("an amount is divided among all parts, and later refunds of units give the rest", () => {
  const order = orderOf({ lines: [line(60n, 1n), line(30n, 1n)], shipping: 10n });
  const selections: RefundSelection[] = [{ kind: "AMOUNT", amount: 50n }, items({ 1: 1n, 2: 1n }, true)];
  const refunds = refundAll(order, basis(100n), selections);
  expect(refunds.map(sharedAmount)).toEqual([50n, 50n]);
  expect(refunds[0]?.lines.map(({ amount, quantity }) => [amount, quantity])).toEqual([
    [30n, 0n],
    [15n, 0n],
  ]);
});

test("units that were cancelled before the payment are not refunded", () => {
  const order = orderOf({ lines: [line(333n, 3n, 100n)] });
  const money = basis(1_099n - 366n, { cancelledUnits: new Map([["1", 1n]]) });
  expect(refundAll(order, money, [items({ 1: 2n })]).map(sharedAmount)).toEqual([733n]);
  expect(reasonOf(() => refundAll(order, money, [items({ 1: 3n })]))).toBe("QUANTITY_TOO_LARGE");
});

test.each([1n, 99n, 301n, 10n ** 15n])("parts are adjusted to what was captured: %s", (captured) => {
  const order = orderOf({ lines: [line(100n, 1n), line(200n, 1n)] });
  const refunds = refundAll(order, basis(captured), [items({ 1: 1n, 2: 1n }, true)]);
  expect(refunds.map(sharedAmount)).toEqual([captured]);
});

test("money that went back without a refund of the service lowers what is left of all parts", () => {
  const order = orderOf({ lines: [line(60n, 1n), line(30n, 1n)], shipping: 10n });
  const money = basis(100n, { otherReturns: 50n });
  const refunds = refundAll(order, money, [items({ 1: 1n }), items({ 2: 1n }), { kind: "SHIPPING" }]);
  expect(refunds.map(sharedAmount)).toEqual([30n, 15n, 5n]);
});

test("money that goes back after a refund leaves exactly what was captured and is not returned", () => {
  const order = orderOf({ lines: [line(60n, 1n), line(30n, 1n)], shipping: 10n });
  const earlier = refundAll(order, basis(100n), [items({ 1: 1n })]);
  for (const otherReturns of [1n, 20n, 39n, 40n]) {
    expect(partsAmount(refundPartsLeft(order, basis(100n, { otherReturns, earlier })))).toBe(
      40n - otherReturns,
    );
  }
});

test.each([
  ["REFUND_TOO_LARGE", { kind: "AMOUNT", amount: 101n }],
  ["QUANTITY_TOO_LARGE", items({ 1: 2n })],
  ["ORDER_ITEM_NOT_FOUND", items({ 7: 1n })],
  ["NOTHING_TO_REFUND", { kind: "SHIPPING" }],
] as const)("a refund fails with %s", (reason, selection) => {
  expect(reasonOf(() => refundAll(orderOf({ lines: [line(100n, 1n)] }), basis(100n), [selection]))).toBe(
    reason,
  );
});

test.each([
  ["the requested amount is 0", { kind: "AMOUNT", amount: 0n }],
  ["nothing is left to refund of these units", items({ 2: 1n })],
  ["nothing is left to refund of the shipping", { kind: "SHIPPING" }],
] as const)("a refund of 0 while money is left fails since %s", (cause, selection) => {
  const order = orderOf({ lines: [line(100n, 1n), line(0n, 2n)] });
  expect(() => refundAll(order, basis(100n), [selection])).toThrow(`The refund would be 0: ${cause}.`);
});

test("a refund of more than is undisputed fails", () => {
  const left = refundPartsLeft(orderOf({ lines: [line(100n, 1n)] }), basis(100n));
  expect(reasonOf(() => allocateRefund("order", left, 40n, items({ 1: 1n })))).toBe("REFUND_TOO_LARGE");
});

function reasonOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof AppError ? error.details.reason : String(error);
  }
}

const lines = fc.array(
  fc
    .record({
      unitPrice: fc.bigInt({ min: 0n, max: 10n ** 10n }),
      quantity: fc.bigInt({ min: 1n, max: 30n }),
      taxPerMille: fc.bigInt({ min: 0n, max: 270n }),
    })
    .map(({ unitPrice, quantity, taxPerMille }) =>
      line(unitPrice, quantity, (unitPrice * quantity * taxPerMille) / 1_000n),
    ),
  { minLength: 1, maxLength: 6 },
);
const orders = fc
  .record({
    lines,
    isTaxIncluded: fc.boolean(),
    discountPerMille: fc.bigInt({ min: 0n, max: 1_000n }),
    shipping: fc.bigInt({ min: 0n, max: 10n ** 6n }),
    shippingTax: fc.bigInt({ min: 0n, max: 10n ** 5n }),
  })
  .map(({ discountPerMille, ...order }) => {
    const subtotal = order.lines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0n);
    const shippingTax =
      order.isTaxIncluded && order.shippingTax > order.shipping ? order.shipping : order.shippingTax;
    return orderOf({ ...order, shippingTax, discount: -((subtotal * discountPerMille) / 1_000n) });
  });
const steps = fc.array(
  fc.record({
    kind: fc.constantFrom("ITEMS", "AMOUNT", "SHIPPING"),
    share: fc.bigInt({ min: 1n, max: 1_000n }),
    includeShipping: fc.boolean(),
  }),
  { maxLength: 12 },
);

test("any sequence of refunds of any order, ended by all that is left, is exactly what was captured", () => {
  fc.assert(
    fc.property(orders, steps, (order, sequence) => {
      const captured = order.totals.total;
      fc.pre(captured > 0n);
      const earlier: RefundShares[] = [];
      const refunded = () => earlier.reduce((sum, shares) => sum + sharedAmount(shares), 0n);
      const refund = (selection: RefundSelection) => {
        const left = refundPartsLeft(order, basis(captured, { earlier }));
        expect(partsAmount(left)).toBe(captured - refunded());
        const shares = reasonOf(() =>
          earlier.push(allocateRefund("order", left, partsAmount(left), selection)),
        );
        expect([undefined, "NOTHING_TO_REFUND"]).toContain(shares);
        expect(refunded() <= captured).toBe(true);
      };
      for (const { kind, share, includeShipping } of sequence) {
        const { lines: left } = refundPartsLeft(order, basis(captured, { earlier }));
        const chosen = left
          .map(({ itemId, units }) => ({ itemId, quantity: (units * share + 999n) / 1_000n }))
          .filter(({ quantity }) => quantity > 0n);
        if (kind === "AMOUNT") refund({ kind, amount: ((captured - refunded()) * share) / 1_000n });
        else if (kind === "SHIPPING") refund({ kind });
        else if (chosen.length > 0) refund({ kind: "ITEMS", items: chosen.slice(0, 2), includeShipping });
      }
      const left = captured - refunded();
      if (left > 0n) refund({ kind: "AMOUNT", amount: left });
      expect(refunded()).toBe(captured);
      const parts = refundPartsLeft(order, basis(captured, { earlier }));
      expect([...parts.lines, parts.shipping].every(({ amount, tax }) => amount === 0n && tax === 0n)).toBe(
        true,
      );
    }),
  );
});

test("units in any order, each alone, with their shipping, are exactly what was captured", () => {
  fc.assert(
    fc.property(orders, fc.array(fc.nat(), { minLength: 200, maxLength: 200 }), (order, choices) => {
      const captured = order.totals.total;
      fc.pre(captured > 0n);
      const earlier: RefundShares[] = [];
      for (const choice of choices) {
        const left = refundPartsLeft(order, basis(captured, { earlier }));
        const open = left.lines.filter(({ units }) => units > 0n);
        const chosen = open[choice % Math.max(open.length, 1)];
        if (chosen === undefined) break;
        try {
          earlier.push(
            allocateRefund("order", left, partsAmount(left), items({ [chosen.itemId]: 1n }, true)),
          );
        } catch (error) {
          // Free units are refunded with others.
          expect(error).toBeInstanceOf(AppError);
          const share = { itemId: chosen.itemId, quantity: 1n, amount: 0n, tax: 0n };
          earlier.push({ lines: [share], shippingAmount: 0n, shippingTax: 0n });
        }
      }
      const isDone = refundPartsLeft(order, basis(captured, { earlier })).lines.every(
        ({ units }) => units === 0n,
      );
      fc.pre(isDone);
      expect(earlier.reduce((sum, shares) => sum + sharedAmount(shares), 0n)).toBe(captured);
    }),
  );
});
