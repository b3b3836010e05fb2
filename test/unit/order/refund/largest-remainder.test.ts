import fc from "fast-check";
import { expect, test } from "vitest";
import { divideByWeights, shareOfUnits } from "../../../../src/order/refund/largest-remainder.ts";

const amounts = fc.bigInt({ min: 0n, max: 10n ** 15n });
const weights = fc.array(amounts, { minLength: 1, maxLength: 20 });

test.each([
  [100n, [1n, 1n, 1n], [34n, 33n, 33n]],
  [2n, [1n, 1n, 1n], [1n, 1n, 0n]],
  [1n, [0n, 1n, 3n], [0n, 0n, 1n]],
  [10n, [5n, 0n, 5n], [5n, 0n, 5n]],
  [7n, [0n, 0n], [7n, 0n]],
  [0n, [3n, 4n], [0n, 0n]],
])("%s divided by the weights %s is %s", (amount, byWeights, parts) => {
  expect(divideByWeights(amount, byWeights)).toEqual(parts);
});

test("the parts of an amount add up to it, and differ from the exact shares by less than one", () => {
  fc.assert(
    fc.property(amounts, weights, (amount, byWeights) => {
      const parts = divideByWeights(amount, byWeights);
      expect(parts.reduce((sum, part) => sum + part, 0n)).toBe(amount);
      const all = byWeights.reduce((sum, weight) => sum + weight, 0n);
      if (all === 0n) return;
      for (const [index, part] of parts.entries()) {
        const difference = part * all - amount * (byWeights[index] ?? 0n);
        expect(difference < all && -difference < all).toBe(true);
      }
    }),
  );
});

test("parts of an amount that is at most the sum of the weights never exceed their weights", () => {
  fc.assert(
    fc.property(weights, fc.bigInt({ min: 0n, max: 1_000n }), (byWeights, perMille) => {
      const all = byWeights.reduce((sum, weight) => sum + weight, 0n);
      const parts = divideByWeights((all * perMille) / 1_000n, byWeights);
      expect(parts.every((part, index) => part <= (byWeights[index] ?? 0n))).toBe(true);
    }),
  );
});

test("units take equal shares, the first ones what is left over, and all of them take all", () => {
  expect([0n, 1n, 2n, 3n].map((units) => shareOfUnits(11n, units, 3n))).toEqual([0n, 4n, 8n, 11n]);
  fc.assert(
    fc.property(amounts, fc.bigInt({ min: 1n, max: 10_000n }), (amount, all) => {
      expect(shareOfUnits(amount, all, all)).toBe(amount);
      expect(shareOfUnits(amount, 1n, all)).toBe(divideByWeights(amount, Array(Number(all)).fill(1n))[0]);
    }),
    { numRuns: 20 },
  );
});
