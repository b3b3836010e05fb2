import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromStripeAmount, toStripeAmount } from "../../../../../src/infra/payment/stripe/stripe-amount.ts";
import { MAX_MINOR_UNITS } from "../../../../../src/kernel/money.ts";

const money = (currencyCode: string, minorUnits: bigint) => ({ currencyCode, minorUnits });

describe("amounts of Stripe", () => {
  test.each([
    // 12.34 EUR in cents.
    { currencyCode: "EUR", minorUnits: 1_234n, amount: 1_234 },
    { currencyCode: "USD", minorUnits: 1n, amount: 1 },
    // 500 JPY: no decimals on both sides.
    { currencyCode: "JPY", minorUnits: 500n, amount: 500 },
    { currencyCode: "KRW", minorUnits: 1n, amount: 1 },
    { currencyCode: "HUF", minorUnits: 1_050n, amount: 1_050 },
    { currencyCode: "TWD", minorUnits: 80_000n, amount: 80_000 },
    // 5 ISK and 5 UGX: Stripe counts hundredths.
    { currencyCode: "ISK", minorUnits: 5n, amount: 500 },
    { currencyCode: "UGX", minorUnits: 5n, amount: 500 },
    // 5 MGA: Stripe counts whole ariary.
    { currencyCode: "MGA", minorUnits: 500n, amount: 5 },
    // 5.120 BHD in fils.
    { currencyCode: "BHD", minorUnits: 5_120n, amount: 5_120 },
    { currencyCode: "KWD", minorUnits: 10n, amount: 10 },
  ])("$minorUnits minor units of $currencyCode are $amount", ({ currencyCode, minorUnits, amount }) => {
    expect(toStripeAmount(money(currencyCode, minorUnits))).toBe(amount);
    expect(fromStripeAmount(amount, currencyCode.toLowerCase())).toEqual(money(currencyCode, minorUnits));
  });

  test.each([
    { name: "0", amount: money("EUR", 0n) },
    { name: "less than 0", amount: money("EUR", -1n) },
    { name: "a fils that is no multiple of ten", amount: money("BHD", 5_124n) },
    { name: "one fils", amount: money("TND", 1n) },
    { name: "hundredths of an ariary", amount: money("MGA", 501n) },
    { name: "thirteen digits", amount: money("EUR", 1_000_000_000_000n) },
    { name: "the largest amount of the service", amount: money("EUR", MAX_MINOR_UNITS) },
    { name: "thirteen digits after its multiplication", amount: money("ISK", 10_000_000_000n) },
    { name: "more than 2^53", amount: money("JPY", 2n ** 53n + 1n) },
    { name: "a currency of three decimals that Stripe does not have", amount: money("LYD", 10n) },
    { name: "a currency of four decimals", amount: money("CLF", 10_000n) },
  ])("$name cannot be charged", ({ amount }) => {
    expect(() => toStripeAmount(amount)).toThrow(
      expect.objectContaining({
        code: "failed_precondition",
        details: expect.objectContaining({ reason: "AMOUNT_NOT_CHARGEABLE" }),
      }),
    );
  });

  test("twelve digits can be charged", () => {
    expect(toStripeAmount(money("IDR", 999_999_999_999n))).toBe(999_999_999_999);
  });

  test("an amount with a fraction of a minor unit is not rounded", () => {
    expect(() => fromStripeAmount(150, "isk")).toThrow(RangeError);
  });

  test("an amount is the same after both conversions, or cannot be charged", () => {
    const currencies = ["EUR", "JPY", "ISK", "UGX", "MGA", "BHD", "JOD", "KWD", "OMR", "TND", "CLP", "XOF"];
    const amounts = fc.record({
      currencyCode: fc.constantFrom(...currencies),
      minorUnits: fc.bigInt({ min: 1n, max: MAX_MINOR_UNITS }),
    });
    let charged = 0;
    fc.assert(
      fc.property(amounts, (amount) => {
        let converted: number;
        try {
          converted = toStripeAmount(amount);
        } catch {
          return;
        }
        charged += 1;
        expect(fromStripeAmount(converted, amount.currencyCode.toLowerCase())).toEqual(amount);
      }),
      { numRuns: 2_000 },
    );
    expect(charged).toBeGreaterThan(100);
  });
});
