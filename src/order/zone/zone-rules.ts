import { AppError, type FieldViolation } from "../../kernel/errors.ts";
import { isCurrency } from "../../kernel/money.ts";
import { isCountry } from "../address/countries.ts";
import { REST_OF_WORLD, type ShippingRate, type ShippingZoneInput } from "./shipping-zone.ts";
import type { TaxZoneInput } from "./tax-zone.ts";

/**
 * Verifies those fields of a shipping zone that are given, beyond the rules of the contract.
 * @throws AppError invalid_argument that names each field
 */
export function assertShippingZone({
  countryCodes = [],
  currencyCode,
  rates = [],
}: Partial<ShippingZoneInput>): void {
  const fields = [
    ...countryCodes.flatMap((code, index) =>
      code === REST_OF_WORLD || isCountry(code) ? [] : [unknownCountry(`country_codes[${index}]`)],
    ),
    ...(currencyCode === undefined || isCurrency(currencyCode)
      ? []
      : [{ field: "currency_code", description: "is not the code of a currency (ISO 4217)" }]),
    ...repeatedKeys(rates.map(({ id }) => id)).map((index) => ({
      field: `rates[${index}].id`,
      description: "must differ from the ids of the other rates",
    })),
    ...rates.flatMap(rateViolations),
  ];
  assertNone("shipping_zone", fields);
}

/**
 * Verifies those fields of a tax zone that are given, beyond the rules of the contract.
 * @throws AppError invalid_argument that names each field
 */
export function assertTaxZone({ countryCode, rates = [] }: Partial<TaxZoneInput>): void {
  const fields = repeatedKeys(rates.map(({ taxClass }) => taxClass)).map((index) => ({
    field: `rates[${index}].tax_class`,
    description: "must differ from the tax classes of the other rates",
  }));
  if (countryCode !== undefined && !isCountry(countryCode)) fields.unshift(unknownCountry("country_code"));
  assertNone("tax_zone", fields);
}

function rateViolations(rate: ShippingRate, index: number): FieldViolation[] {
  const { tiers, minDeliveryDays, maxDeliveryDays } = rate;
  const fields = tiers.flatMap(({ minimum }, at) => {
    const before = tiers[at - 1];
    return before === undefined || before.minimum < minimum
      ? []
      : [
          {
            field: `rates[${index}].tiers[${at}].minimum`,
            description: "must be more than that of the tier before",
          },
        ];
  });
  if (maxDeliveryDays < minDeliveryDays) {
    fields.push({
      field: `rates[${index}].max_delivery_days`,
      description: "must not be less than min_delivery_days",
    });
  }
  return fields;
}

function unknownCountry(field: string): FieldViolation {
  return { field, description: "is not the code of a country (ISO 3166-1)" };
}

/** Returns the indexes of the keys that occur before. */
function repeatedKeys(keys: readonly string[]): number[] {
  return keys.flatMap((key, index) => (keys.indexOf(key) < index ? [index] : []));
}

function assertNone(resource: string, violations: readonly FieldViolation[]): void {
  const [first] = violations;
  if (first === undefined) return;
  throw new AppError("invalid_argument", `${resource}.${first.field}: ${first.description}.`, {
    reason: "INVALID_FIELD",
    fields: violations.map(({ field, description }) => ({ field: `${resource}.${field}`, description })),
  });
}
