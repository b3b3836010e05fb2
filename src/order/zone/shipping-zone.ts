import { type RawBuilder, sql } from "kysely";
import type { Keyset } from "../../infra/postgres/keyset.ts";

/** The value of a basket that selects the tier of a rate: its subtotal in minor units, or its weight in grams. */
export type ShippingBasis = "ORDER_VALUE" | "WEIGHT";

/** The price of a rate from a minimum on. */
export interface ShippingTier {
  /** In the unit of the rate's basis. */
  minimum: bigint;
  /** In minor units of the zone's currency. */
  price: bigint;
}

/** One way to ship orders to the countries of a zone. */
export interface ShippingRate {
  /** Id of the shipping option, unique in the zone. */
  id: string;
  name: string;
  basis: ShippingBasis;
  /** In ascending order of their minimums. */
  tiers: readonly ShippingTier[];
  /** Days from the shipment to the delivery; 0 if unknown. */
  minDeliveryDays: number;
  maxDeliveryDays: number;
}

/** The fields of a shipping zone that staff write. */
export interface ShippingZoneInput {
  name: string;
  /** ISO 3166-1 codes; "*" is the rest of the world. */
  countryCodes: readonly string[];
  /** ISO 4217 code of all prices. */
  currencyCode: string;
  rates: readonly ShippingRate[];
}

/** Countries with the same shipping options and prices. */
export interface ShippingZone extends ShippingZoneInput {
  id: string;
  etag: string;
  createTime: Date;
  updateTime: Date;
}

/** A rate as JSON. Amounts are numbers: they are below 2^53. */
export interface StoredRate extends Omit<ShippingRate, "tiers"> {
  tiers: { minimum: number; price: number }[];
}

/** A shipping zone as PostgreSQL returns it. */
export interface ShippingZoneRow {
  id: string;
  name: string;
  currency: string;
  rates: StoredRate[];
  version: number;
  created_at: string;
  updated_at: string;
  countries: string[];
}

/** The country code of all countries without a zone of their own. */
export const REST_OF_WORLD = "*";

/** The sort order of lists of shipping zones. */
export const SORT_BY_NAME: Keyset = {
  columns: [
    { name: "name", type: "text" },
    { name: "id", type: "uuid" },
  ],
  descending: false,
};

/** Returns the statement that reads shipping zones with their countries. @param selection SQL from `where` on */
export function selectShippingZones(selection: RawBuilder<unknown>): RawBuilder<ShippingZoneRow> {
  return sql`
    select shipping_zone.*, array(
      select country from shipping_zone_country where zone_id = shipping_zone.id order by country
    ) as countries
    from shipping_zone ${selection}`;
}

/** Returns the shipping zone of a row. */
export function shippingZoneFromRow(row: ShippingZoneRow): ShippingZone {
  return {
    id: row.id,
    name: row.name,
    countryCodes: row.countries,
    currencyCode: row.currency,
    rates: row.rates.map(({ tiers, ...rate }) => ({
      ...rate,
      tiers: tiers.map(({ minimum, price }) => ({ minimum: BigInt(minimum), price: BigInt(price) })),
    })),
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}

/** Returns rates as they are stored. */
export function storedRates(rates: readonly ShippingRate[]): StoredRate[] {
  return rates.map(({ tiers, ...rate }) => ({
    ...rate,
    tiers: tiers.map(({ minimum, price }) => ({ minimum: Number(minimum), price: Number(price) })),
  }));
}
