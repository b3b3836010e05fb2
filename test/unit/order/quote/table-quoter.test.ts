import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BasketLine } from "../../../../src/order/quote/quote.ts";
import { createTableQuoter } from "../../../../src/order/quote/table-quoter.ts";
import { addedTax, includedTax } from "../../../../src/order/quote/tax.ts";
import { totalsOf } from "../../../../src/order/quote/totals.ts";
import { REST_OF_WORLD, type ShippingRate, tablesOf } from "../../../../src/order/zone/zones.ts";
import {
  addressIn,
  baskets,
  germanTaxes,
  germanZone,
  zoneTables,
} from "../../../support/quote/arbitraries.ts";

const line = (unitPrice: bigint, more: Partial<BasketLine> = {}): BasketLine => ({
  productId: "p",
  unitPrice,
  quantity: 1n,
  taxClass: "",
  weightGrams: 0n,
  ...more,
});
const eur = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
const basketOf = (...lines: BasketLine[]) => ({ currencyCode: "EUR", lines });
const rate = (more: Partial<ShippingRate>): ShippingRate => ({
  id: "standard",
  name: "Standard",
  basis: "ORDER_VALUE",
  tiers: [{ minimum: 0n, price: 490n }],
  minDeliveryDays: 1,
  maxDeliveryDays: 3,
  ...more,
});

describe("the tax of an amount is rounded half up", () => {
  test.each([
    // 19 % of 0.50 is 0.095; of 0.49, 0.0931; 5 % of 0.10 is 0.005.
    [50n, 190_000n, 10n],
    [49n, 190_000n, 9n],
    [10n, 50_000n, 1n],
    [9n, 50_000n, 0n],
    [0n, 1_000_000n, 0n],
    [10n ** 15n, 1_000_000n, 10n ** 15n],
    [1n, 500_000n, 1n],
  ])("of %s at %s ppm, added", (amount, ratePpm, tax) => expect(addedTax(amount, ratePpm)).toBe(tax));

  test.each([
    [11_900n, 190_000n, 1_900n],
    [10_000n, 190_000n, 1_597n],
    [107n, 70_000n, 7n],
    // 25 % included in 0.03 is 0.006, in 0.02 0.004; half of 0.01 is 0.005.
    [3n, 250_000n, 1n],
    [2n, 250_000n, 0n],
    [1n, 1_000_000n, 1n],
    [0n, 190_000n, 0n],
    [10n ** 15n, 0n, 0n],
  ])("of %s at %s ppm, included", (amount, ratePpm, tax) => expect(includedTax(amount, ratePpm)).toBe(tax));
});

describe("tax zones", () => {
  test("each line has the rate of its class, and a class without a rate that of the standard class", () => {
    const quote = createTableQuoter(tablesOf([], [germanTaxes()]), addressIn("DE"));
    const basket = basketOf(
      line(11_900n),
      line(107n, { taxClass: "books" }),
      line(11_900n, { taxClass: "food" }),
    );
    expect(quote(basket)).toEqual({
      lineTaxes: [1_900n, 7n, 1_900n],
      isTaxIncluded: true,
      shippingOptions: [],
      needsShippingOption: false,
    });
  });

  test("tax is rounded by line, not by unit and not by order", () => {
    const tables = tablesOf([], [germanTaxes({ pricesIncludeTax: false })]);
    const quote = createTableQuoter(tables, addressIn("DE"));
    // 19 % of 0.05 x 10 is 0.095. By unit it would be 10 x 0.01, by order of both lines 0.19.
    expect(quote(basketOf(line(5n, { quantity: 10n }), line(50n))).lineTaxes).toEqual([10n, 10n]);
  });

  test("the zone of a region replaces that of its country, without regard to case", () => {
    const country = germanTaxes({ countryCode: "US", pricesIncludeTax: false, rates: [] });
    const region = { ...country, region: "ca", rates: [{ taxClass: "", ratePpm: 72_500 }] };
    const tables = tablesOf([], [country, region]);
    const taxIn = (area: string) =>
      createTableQuoter(tables, addressIn("US", area))(basketOf(line(1_000n))).lineTaxes;
    expect(taxIn(" Ca")).toEqual([73n]);
    expect(taxIn("OR")).toEqual([0n]);
    expect(taxIn("")).toEqual([0n]);
    expect(createTableQuoter(tables, addressIn("CA", "CA"))(basketOf(line(1_000n))).lineTaxes).toEqual([0n]);
  });

  test("a class has no tax when neither it nor the standard class has a rate", () => {
    const tables = tablesOf([], [germanTaxes({ rates: [{ taxClass: "books", ratePpm: 70_000 }] })]);
    expect(createTableQuoter(tables, addressIn("DE"))(basketOf(line(11_900n))).lineTaxes).toEqual([0n]);
  });
});

describe("shipping zones", () => {
  const quoteFor = (rates: ShippingRate[], ...lines: BasketLine[]) =>
    createTableQuoter(tablesOf([germanZone(rates)], [germanTaxes()]), addressIn("DE"))(basketOf(...lines))
      .shippingOptions;

  test("the tier is the last one whose minimum the value of the basket reaches", () => {
    const tiers = [
      { minimum: 0n, price: 490n },
      { minimum: 5_000n, price: 250n },
      { minimum: 10_000n, price: 0n },
    ];
    const prices = [0n, 4_999n, 5_000n, 9_999n, 10_000n, 10n ** 14n].map(
      (value) => quoteFor([rate({ tiers })], line(value))[0]?.price.minorUnits,
    );
    expect(prices).toEqual([490n, 490n, 250n, 250n, 0n, 0n]);
  });

  test("the weight of a basket is that of all its units", () => {
    const weighed = rate({
      basis: "WEIGHT",
      tiers: [
        { minimum: 1n, price: 490n },
        { minimum: 2_000n, price: 1_190n },
      ],
    });
    const units = (quantity: bigint, weightGrams: bigint) => line(1n, { quantity, weightGrams });
    expect(quoteFor([weighed], units(3n, 500n))).toMatchObject([{ price: eur(490n), tax: eur(78n) }]);
    expect(quoteFor([weighed], units(3n, 500n), units(1n, 500n))).toMatchObject([{ price: eur(1_190n) }]);
    expect(quoteFor([weighed], units(3n, 0n))).toEqual([]);
  });

  test("options have the days and the order of their rates, and tax of the class of shipping", () => {
    const taxes = germanTaxes({ shippingTaxClass: "books", pricesIncludeTax: false });
    const tables = tablesOf([germanZone([rate({ id: "b" }), rate({ id: "a", name: "速達" })])], [taxes]);
    expect(createTableQuoter(tables, addressIn("DE"))(basketOf(line(1n))).shippingOptions).toEqual([
      { id: "b", name: "Standard", price: eur(490n), tax: eur(34n), minDeliveryDays: 1, maxDeliveryDays: 3 },
      { id: "a", name: "速達", price: eur(490n), tax: eur(34n), minDeliveryDays: 1, maxDeliveryDays: 3 },
    ]);
  });

  test("a country without a zone has the options of the rest of the world, or none", () => {
    const world = { ...germanZone([rate({ id: "world" })]), countryCodes: [REST_OF_WORLD] };
    const optionsIn = (country: string, zones = [germanZone([rate({ id: "de" })]), world]) =>
      createTableQuoter(
        tablesOf(zones, []),
        addressIn(country),
      )(basketOf(line(1n))).shippingOptions.map(({ id }) => id);
    expect(optionsIn("DE")).toEqual(["de"]);
    expect(optionsIn("JP")).toEqual(["world"]);
    expect(optionsIn("JP", [germanZone([rate({})])])).toEqual([]);
  });

  test("a basket in another currency than the zone's has no option", () => {
    const quote = createTableQuoter(tablesOf([germanZone([rate({})])], [germanTaxes()]), addressIn("DE"));
    const { shippingOptions, lineTaxes } = quote({ currencyCode: "USD", lines: [line(11_900n)] });
    expect(shippingOptions).toEqual([]);
    expect(lineTaxes).toEqual([1_900n]);
  });
});

describe("totals", () => {
  test("the totals of any basket are not negative and add up", () => {
    fc.assert(
      fc.property(zoneTables, baskets, fc.nat(20), (tables, basket, choice) => {
        const quote = createTableQuoter(tables, addressIn("DE"))(basket);
        const option = quote.shippingOptions[choice];
        const sum = (amounts: readonly bigint[]) => amounts.reduce((left, right) => left + right, 0n);
        const subtotal = sum(basket.lines.map(({ unitPrice, quantity }) => unitPrice * quantity));
        const totals = totalsOf("items", subtotal, quote, option);
        const { discount, shipping, tax, isTaxIncluded, total } = totals;
        const shippingTax = option?.tax.minorUnits ?? 0n;
        expect(quote.lineTaxes).toHaveLength(basket.lines.length);
        expect(totals.subtotal).toBe(subtotal);
        expect(tax).toBe(sum(quote.lineTaxes) + shippingTax);
        expect(shipping).toBe(option?.price.minorUnits ?? 0n);
        expect(total).toBe(subtotal + discount + shipping + (isTaxIncluded ? 0n : tax));
        for (const amount of [...quote.lineTaxes, subtotal, shipping, tax, shippingTax, total]) {
          expect(amount).toBeGreaterThanOrEqual(0n);
        }
        for (const [at, { unitPrice, quantity }] of basket.lines.entries()) {
          expect(quote.lineTaxes[at]).toBeLessThanOrEqual(unitPrice * quantity);
        }
      }),
    );
  });

  test("included tax is that of the amount without it, within one minor unit", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 15n), fc.bigInt(0n, 1_000_000n), (amount, ratePpm) => {
        const tax = includedTax(amount, ratePpm);
        const difference = addedTax(amount - tax, ratePpm) - tax;
        expect(difference >= -1n && difference <= 1n).toBe(true);
        // Exact: the tax is the nearest whole number to amount * rate / (1 + rate), the greater one of two.
        const doubled = 2n * (amount * ratePpm - tax * (1_000_000n + ratePpm));
        expect(doubled >= -(1_000_000n + ratePpm) && doubled < 1_000_000n + ratePpm).toBe(true);
      }),
    );
  });

  test("a basket without a quote has no tax and no shipping", () => {
    expect(totalsOf("items", 15n, { lineTaxes: [], isTaxIncluded: false }, undefined)).toEqual({
      subtotal: 15n,
      discount: 0n,
      shipping: 0n,
      tax: 0n,
      isTaxIncluded: false,
      total: 15n,
    });
  });

  test("a total past the largest amount is rejected, also when only tax or shipping passes it", () => {
    const large = 10n ** 15n;
    const tooLarge = expect.objectContaining({
      code: "invalid_argument",
      details: expect.objectContaining({
        reason: "AMOUNT_TOO_LARGE",
        fields: [expect.objectContaining({ field: "items" })],
      }),
    });
    const quote = { lineTaxes: [1n], isTaxIncluded: false };
    const option = {
      id: "x",
      name: "x",
      price: eur(1n),
      tax: eur(0n),
      minDeliveryDays: 0,
      maxDeliveryDays: 0,
    };
    expect(totalsOf("items", large, { ...quote, isTaxIncluded: true }, undefined).total).toBe(10n ** 15n);
    expect(() => totalsOf("items", large, quote, undefined)).toThrow(tooLarge);
    expect(() => totalsOf("items", large, { ...quote, lineTaxes: [0n] }, option)).toThrow(tooLarge);
    expect(() => totalsOf("items", large * 10_000n, { ...quote, lineTaxes: [] }, undefined)).toThrow(
      tooLarge,
    );
  });
});
