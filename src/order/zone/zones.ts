import { sql } from "kysely";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import {
  type ShippingZone,
  type ShippingZoneRow,
  selectShippingZones,
  shippingZoneFromRow,
} from "./shipping-zone.ts";
import { createShippingZones, type ShippingZones } from "./shipping-zones.ts";
import { regionKey, type TaxZone, type TaxZoneRow, taxZoneFromRow } from "./tax-zone.ts";
import { createTaxZones, type TaxZones } from "./tax-zones.ts";
import type { ZoneOptions } from "./zone-options.ts";

export { REST_OF_WORLD, type ShippingRate, type ShippingZone } from "./shipping-zone.ts";
export type { TaxZone } from "./tax-zone.ts";
export { ZONES_TAG } from "./zone-options.ts";

/** All zones, for lookups by country. */
export interface ZoneTables {
  /** By country code; "*" is the rest of the world. */
  shipping: ReadonlyMap<string, ShippingZone>;
  /** By `taxZoneKey`. */
  tax: ReadonlyMap<string, TaxZone>;
}

/** The shipping zones and tax zones of the shop, which staff edit. */
export interface Zones {
  shipping: ShippingZones;
  tax: TaxZones;
  /** Returns all zones. */
  readTables(call: Call): Promise<ZoneTables>;
}

const READ_SHIPPING = prepare<[], ShippingZoneRow>(() => selectShippingZones(sql``));
const READ_TAX = prepare<[], TaxZoneRow>(() => sql`select * from tax_zone`);

/** Returns the key of a tax zone in the tables. @param region empty for the whole country */
export function taxZoneKey(countryCode: string, region: string): string {
  return `${countryCode} ${regionKey(region)}`;
}

/** Creates the zones. */
export function createZones(options: ZoneOptions): Zones {
  return {
    shipping: createShippingZones(options),
    tax: createTaxZones(options),
    async readTables(call) {
      const [shipping, tax] = await Promise.all([
        options.db.read(call, READ_SHIPPING()),
        options.db.read(call, READ_TAX()),
      ]);
      return tablesOf(shipping.map(shippingZoneFromRow), tax.map(taxZoneFromRow));
    },
  };
}

/** Returns the tables of zones. */
export function tablesOf(shipping: readonly ShippingZone[], tax: readonly TaxZone[]): ZoneTables {
  return {
    shipping: new Map(shipping.flatMap((zone) => zone.countryCodes.map((code) => [code, zone]))),
    tax: new Map(tax.map((zone) => [taxZoneKey(zone.countryCode, zone.region), zone])),
  };
}
