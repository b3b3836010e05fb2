import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { storedRates } from "../../../order/zone/shipping-zone.ts";
import { regionKey } from "../../../order/zone/tax-zone.ts";
import { createdAtOf, seedId } from "../generate/seed-id.ts";
import { SEED_SHIPPING_ZONES, SEED_TAX_ZONES } from "../generate/zones.ts";

/** Currency of the seeded prices. */
const CURRENCY = "EUR";

/** Writes the zones of the demo, unless the shop has a zone: staff may have deleted or replaced them. */
export async function writeZones(tx: Tx): Promise<void> {
  const [existing] = await tx.query(
    sql<{ has_zones: boolean }>`
      select exists (select from shipping_zone) or exists (select from tax_zone) as has_zones`,
  );
  if (existing?.has_zones !== false) return;
  const now = createdAtOf(0);
  for (const [index, { name, countryCodes, rates }] of SEED_SHIPPING_ZONES.entries()) {
    const id = seedId("zone", index + 1);
    await tx.query(sql`
      insert into shipping_zone (id, name, currency, rates, created_at, updated_at)
      values (${id}, ${name}, ${CURRENCY}, ${JSON.stringify(storedRates(rates))}, ${now}, ${now})
      on conflict do nothing`);
    await tx.query(sql`
      insert into shipping_zone_country (country, zone_id)
      select country, ${id}::uuid from unnest(${countryCodes}::text[]) as country
      on conflict do nothing`);
  }
  for (const [index, zone] of SEED_TAX_ZONES.entries()) {
    const id = seedId("zone", SEED_SHIPPING_ZONES.length + index + 1);
    const { countryCode, region, pricesIncludeTax, rates } = zone;
    await tx.query(sql`
      insert into tax_zone (
        id, country, region, region_key, prices_include_tax, rates, shipping_tax_class, created_at, updated_at
      ) values (
        ${id}, ${countryCode}, ${region}, ${regionKey(region)}, ${pricesIncludeTax}, ${JSON.stringify(rates)}, '',
        ${now}, ${now}
      ) on conflict do nothing`);
  }
}
