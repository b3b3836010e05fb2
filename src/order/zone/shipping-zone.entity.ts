import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../../infra/postgres/columns.ts";
import type { StoredRate } from "./shipping-zone.ts";

/** A shipping zone. Its countries are rows of their own. */
export const ShippingZoneEntity = defineEntity({
  name: "ShippingZone",
  tableName: "shipping_zone",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    currency: p.character().length(3),
    rates: p.json<StoredRate[]>(),
    version: p.integer().version(),
    createdAt: timestamp(),
    updatedAt: timestamp(),
  },
  indexes: [{ name: "shipping_zone_name", properties: ["name", "id"] }],
});

/** A country of a shipping zone. The primary key keeps it in one zone; "*" is the rest of the world. */
export const ShippingZoneCountryEntity = defineEntity({
  name: "ShippingZoneCountry",
  tableName: "shipping_zone_country",
  properties: {
    country: p.text().primary(),
    zoneId: p.uuid(),
  },
  indexes: [{ name: "shipping_zone_country_zone", properties: ["zoneId"] }],
  checks: [{ name: "shipping_zone_country_valid", expression: "country ~ '^([A-Z]{2}|[*])$'" }],
});
