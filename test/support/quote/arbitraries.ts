import fc from "fast-check";
import type { PostalAddress } from "../../../src/order/address/postal-address.ts";
import type { Basket } from "../../../src/order/quote/quote.ts";
import { type ShippingZone, type TaxZone, tablesOf, type ZoneTables } from "../../../src/order/zone/zones.ts";

const row = { id: "", etag: "1", createTime: new Date(0), updateTime: new Date(0) };

/** Returns a shipping zone of Germany in EUR. */
export function germanZone(rates: ShippingZone["rates"]): ShippingZone {
  return { ...row, name: "Germany", countryCodes: ["DE"], currencyCode: "EUR", rates };
}

/** Returns the taxes of Germany: 19 % included, 7 % for books; those that a test changes. */
export function germanTaxes(more: Partial<TaxZone> = {}): TaxZone {
  return {
    ...row,
    countryCode: "DE",
    region: "",
    pricesIncludeTax: true,
    rates: [
      { taxClass: "", ratePpm: 190_000 },
      { taxClass: "books", ratePpm: 70_000 },
    ],
    shippingTaxClass: "",
    ...more,
  };
}

/** Returns an address in a country. */
export function addressIn(countryCode: string, administrativeArea = ""): PostalAddress {
  return {
    countryCode,
    administrativeArea,
    locality: "",
    postalCode: "",
    addressLines: [],
    recipient: "",
    organization: "",
    phone: "",
  };
}

const taxClasses = fc.constantFrom("", "books", "food", "unknown");
const amounts = fc.oneof(fc.bigInt(0n, 10_000n), fc.bigInt(0n, 10n ** 9n));

/** Baskets of 1 to 100 lines whose totals are below the largest amount. */
export const baskets: fc.Arbitrary<Basket> = fc.record({
  currencyCode: fc.constant("EUR"),
  lines: fc.array(
    fc.record({
      productId: fc.uuid(),
      unitPrice: amounts,
      quantity: fc.bigInt(1n, 1_000n),
      taxClass: taxClasses,
      weightGrams: fc.bigInt(0n, 100_000n),
    }),
    { minLength: 1, maxLength: 100 },
  ),
});

const tiers = fc
  .uniqueArray(fc.bigInt(0n, 10n ** 10n), { minLength: 1, maxLength: 20 })
  .chain((minimums) =>
    fc
      .array(amounts, { minLength: minimums.length, maxLength: minimums.length })
      .map((prices) =>
        minimums
          .sort((a, b) => (a < b ? -1 : 1))
          .map((minimum, index) => ({ minimum, price: prices[index] ?? 0n })),
      ),
  );

const rates = fc.array(
  fc.record({
    id: fc.constantFrom("standard", "express", "freight"),
    name: fc.string({ minLength: 1, maxLength: 100 }),
    basis: fc.constantFrom("ORDER_VALUE" as const, "WEIGHT" as const),
    tiers,
    minDeliveryDays: fc.nat(10),
    maxDeliveryDays: fc.nat(10),
  }),
  { minLength: 1, maxLength: 20 },
);

/** Tables of zones with or without one of each kind for Germany. */
export const zoneTables: fc.Arbitrary<ZoneTables> = fc
  .record({
    shipping: fc.option(rates.map(germanZone), { nil: undefined }),
    tax: fc.option(
      fc
        .record({
          pricesIncludeTax: fc.boolean(),
          rates: fc.uniqueArray(fc.record({ taxClass: taxClasses, ratePpm: fc.nat(1_000_000) }), {
            selector: ({ taxClass }) => taxClass,
            maxLength: 4,
          }),
          shippingTaxClass: taxClasses,
        })
        .map(germanTaxes),
      { nil: undefined },
    ),
  })
  .map(({ shipping, tax }) =>
    tablesOf(shipping === undefined ? [] : [shipping], tax === undefined ? [] : [tax]),
  );
