import type { PostalAddress } from "../address/postal-address.ts";
import type { ShippingOption } from "../order-types.ts";
import {
  REST_OF_WORLD,
  type ShippingRate,
  type ShippingZone,
  type TaxZone,
  taxZoneKey,
  type ZoneTables,
} from "../zone/zones.ts";
import type { Basket, Quote, Quoter } from "./quote.ts";
import { addedTax, includedTax } from "./tax.ts";

/** Returns the quoter of an address by the tables of zones. */
export function createTableQuoter(tables: ZoneTables, address: PostalAddress): Quoter {
  const { countryCode, administrativeArea } = address;
  const shippingZone = tables.shipping.get(countryCode) ?? tables.shipping.get(REST_OF_WORLD);
  const taxZone =
    tables.tax.get(taxZoneKey(countryCode, administrativeArea)) ??
    tables.tax.get(taxZoneKey(countryCode, ""));
  const taxRates = taxRatesOf(taxZone);
  // A shop without shipping zones does not charge for shipping.
  const needsShippingOption = tables.shipping.size > 0;
  return (basket) => ({ ...quoteBasket(basket, shippingZone, taxRates), needsShippingOption });
}

/** The taxes of an address. */
interface TaxRates {
  isIncluded: boolean;
  /** Returns the tax of an amount, rounded half up to minor units. */
  taxOf(amount: bigint, taxClass: string): bigint;
  shippingTaxClass: string;
}

const NO_TAX: TaxRates = { isIncluded: false, taxOf: () => 0n, shippingTaxClass: "" };

/** Returns the taxes of a zone: a class without a rate has that of the standard class. */
function taxRatesOf(zone: TaxZone | undefined): TaxRates {
  if (zone === undefined) return NO_TAX;
  const { rates, pricesIncludeTax: isIncluded, shippingTaxClass } = zone;
  const ratesPpm = new Map(rates.map(({ taxClass, ratePpm }) => [taxClass, BigInt(ratePpm)]));
  const rateOf = (taxClass: string) => ratesPpm.get(taxClass) ?? ratesPpm.get("") ?? 0n;
  const tax = isIncluded ? includedTax : addedTax;
  return { isIncluded, taxOf: (amount, taxClass) => tax(amount, rateOf(taxClass)), shippingTaxClass };
}

function quoteBasket(
  basket: Basket,
  zone: ShippingZone | undefined,
  taxes: TaxRates,
): Omit<Quote, "needsShippingOption"> {
  const { currencyCode, lines } = basket;
  const lineTaxes = lines.map(({ unitPrice, quantity, taxClass }) =>
    taxes.taxOf(unitPrice * quantity, taxClass),
  );
  const isShipped = zone !== undefined && zone.currencyCode === currencyCode;
  const shippingOptions = isShipped ? optionsOf(basket, zone.rates, taxes) : [];
  return { lineTaxes, isTaxIncluded: taxes.isIncluded, shippingOptions };
}

/** Returns the options of the rates that have a price for the basket. */
function optionsOf(
  { currencyCode, lines }: Basket,
  rates: readonly ShippingRate[],
  taxes: TaxRates,
): ShippingOption[] {
  let value = 0n;
  let weight = 0n;
  for (const { unitPrice, quantity, weightGrams } of lines) {
    value += unitPrice * quantity;
    weight += weightGrams * quantity;
  }
  return rates.flatMap(({ id, name, basis, tiers, minDeliveryDays, maxDeliveryDays }) => {
    const measure = basis === "WEIGHT" ? weight : value;
    const tier = tiers.findLast(({ minimum }) => minimum <= measure);
    if (tier === undefined) return [];
    const price = { currencyCode, minorUnits: tier.price };
    const tax = { currencyCode, minorUnits: taxes.taxOf(tier.price, taxes.shippingTaxClass) };
    return [{ id, name, price, tax, minDeliveryDays, maxDeliveryDays }];
  });
}
