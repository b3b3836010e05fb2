import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";
import type { TaxRate } from "./tax-zone.ts";

/** The taxes of a country or of a region of it. */
export const TaxZoneEntity = defineEntity({
  name: "TaxZone",
  tableName: "tax_zone",
  properties: {
    id: p.uuid().primary(),
    country: p.character().length(2),
    region: p.text(),
    /** The region as `regionKey` returns it; empty for the whole country. */
    regionKey: p.text(),
    pricesIncludeTax: p.boolean(),
    rates: p.json<TaxRate[]>(),
    shippingTaxClass: p.text(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  uniques: [{ name: "tax_zone_region_unique", properties: ["country", "regionKey"] }],
});
