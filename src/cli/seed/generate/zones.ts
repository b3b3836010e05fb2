import type { ShippingRate, ShippingZone, TaxZone } from "../../../order/zone/zones.ts";

/** A shipping zone of the demo, with prices in EUR. */
export type SeedShippingZone = Pick<ShippingZone, "name" | "countryCodes" | "rates">;
/** The taxes of a country of the demo, or of a region of it. */
export type SeedTaxZone = Pick<TaxZone, "countryCode" | "region" | "pricesIncludeTax" | "rates">;

/** Returns a rate that is free from an order value on. */
function rateByValue(
  id: string,
  name: string,
  price: bigint,
  freeFrom: bigint,
  days: [number, number],
): ShippingRate {
  const tiers = [
    { minimum: 0n, price },
    { minimum: freeFrom, price: 0n },
  ];
  const [minDeliveryDays, maxDeliveryDays] = days;
  return { id, name, basis: "ORDER_VALUE", tiers, minDeliveryDays, maxDeliveryDays };
}

/** Returns a rate by weight: up to 2 kg, up to 10 kg, and above. */
function rateByWeight(
  id: string,
  name: string,
  prices: [bigint, bigint, bigint],
  days: [number, number],
): ShippingRate {
  const tiers = [0n, 2_000n, 10_000n].map((minimum, index) => ({ minimum, price: prices[index] ?? 0n }));
  const [minDeliveryDays, maxDeliveryDays] = days;
  return { id, name, basis: "WEIGHT", tiers, minDeliveryDays, maxDeliveryDays };
}

/** The shipping zones of the demo. */
export const SEED_SHIPPING_ZONES: readonly SeedShippingZone[] = [
  {
    name: "Germany",
    countryCodes: ["DE"],
    rates: [
      rateByValue("standard", "Standard", 490n, 5_000n, [1, 3]),
      rateByWeight("express", "Express", [990n, 1_490n, 2_990n], [1, 1]),
    ],
  },
  {
    name: "European Union",
    countryCodes: ["AT", "BE", "ES", "FR", "IT", "NL", "PL"],
    rates: [rateByValue("standard", "Standard", 990n, 10_000n, [2, 5])],
  },
  {
    name: "Rest of the world",
    countryCodes: ["*"],
    rates: [rateByWeight("international", "International", [1_990n, 3_990n, 8_990n], [5, 15])],
  },
];

/** Returns a tax zone with a standard rate and a reduced rate, in parts per million. */
function taxes(countryCode: string, standard: number, reduced: number): SeedTaxZone {
  const rates = [
    { taxClass: "", ratePpm: standard },
    { taxClass: "reduced", ratePpm: reduced },
  ];
  return { countryCode, region: "", pricesIncludeTax: true, rates };
}

/** The tax zones of the demo. */
export const SEED_TAX_ZONES: readonly SeedTaxZone[] = [
  taxes("DE", 190_000, 70_000),
  taxes("AT", 200_000, 100_000),
  taxes("FR", 200_000, 55_000),
  { countryCode: "US", region: "CA", pricesIncludeTax: false, rates: [{ taxClass: "", ratePpm: 72_500 }] },
];
