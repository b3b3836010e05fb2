import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import { keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import { type Page, type PageRequest, resolvePageSize } from "../../kernel/page.ts";
import { ShippingZoneEntity } from "./shipping-zone.entity.ts";
import {
  type ShippingZone,
  type ShippingZoneInput,
  type ShippingZoneRow,
  SORT_BY_NAME,
  selectShippingZones,
  shippingZoneFromRow,
  storedRates,
} from "./shipping-zone.ts";
import { ZONES_TAG, type ZoneCreation, type ZoneOptions, type ZoneUpdate } from "./zone-options.ts";
import { assertShippingZone } from "./zone-rules.ts";
import { assertCurrent, deleteZone } from "./zone-versions.ts";

/** The shipping zones of the shop. A country is in at most one of them. */
export interface ShippingZones {
  /** Returns a zone. @throws AppError not_found */
  get(call: Call, id: string): Promise<ShippingZone>;
  /** Returns a page of zones, sorted by name. */
  list(call: Call, request: PageRequest): Promise<Page<ShippingZone>>;
  /**
   * Creates a zone.
   * @throws AppError already_exists when one of its countries is in another zone; invalid_argument for an unknown
   *   country or currency, a repeated id of a rate, or tiers that do not ascend
   */
  create(call: Call, creation: ZoneCreation<ShippingZoneInput>): Promise<ShippingZone>;
  /** Changes the fields of the mask. @throws AppError not_found; aborted for a stale etag; as `create` does */
  update(call: Call, update: ZoneUpdate<ShippingZoneInput>): Promise<ShippingZone>;
  /** Deletes a zone. @throws AppError not_found; aborted for a stale etag */
  delete(call: Call, id: string, etag: string): Promise<void>;
}

const UPDATABLE: UpdatableFields<keyof ShippingZoneInput> = {
  resource: "shipping_zone",
  fields: {
    name: "name",
    country_codes: "countryCodes",
    currency_code: "currencyCode",
    rates: "rates",
  },
  required: new Set(["name", "country_codes", "currency_code", "rates"]),
};

const FIND = prepare<[id: string], ShippingZoneRow>((id) => selectShippingZones(sql`where id = ${id}`));

/** Creates the shipping zones. */
export function createShippingZones({ db, ids, clock, tokens }: ZoneOptions): ShippingZones {
  return {
    async get(call, id) {
      const [row] = await db.read(call, FIND(id));
      if (row === undefined) throw notFound("shipping_zone", id);
      return shippingZoneFromRow(row);
    },

    async list(call, { pageSize, pageToken }) {
      const query = { list: "shipping_zones" };
      const size = resolvePageSize(pageSize);
      const where = allOf([keysetCondition(SORT_BY_NAME, tokens.readCursor(pageToken, query))]);
      const statement = selectShippingZones(
        sql`where ${where} ${keysetOrder(SORT_BY_NAME)} limit ${size + 1}`,
      );
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.name, row.id], shippingZoneFromRow);
    },

    async create(call, { zone, ...options }) {
      assertPresent({
        "shipping_zone.name": zone.name,
        "shipping_zone.country_codes": zone.countryCodes,
        "shipping_zone.currency_code": zone.currencyCode,
        "shipping_zone.rates": zone.rates,
      });
      assertShippingZone(zone);
      const mutation = { ...options, method: "CreateShippingZone" };
      const { result } = await runMutation(db, call, mutation, zone, async (tx) => {
        const now = clock.now();
        const id = ids();
        tx.em.create(ShippingZoneEntity, {
          id,
          name: zone.name,
          currency: zone.currencyCode,
          rates: storedRates(zone.rates),
          createdAt: now,
          updatedAt: now,
        });
        await tx.em.flush();
        await setCountries(tx, id, zone.countryCodes);
        return changed(tx, id);
      });
      return result;
    },

    async update(call, { zone, mask, ...options }) {
      assertPresent({ "shipping_zone.id": zone.id });
      const changes = pick(zone, fieldsToUpdate(UPDATABLE, zone, mask));
      assertShippingZone(changes);
      const mutation = { ...options, method: "UpdateShippingZone" };
      const { result } = await runMutation(db, call, mutation, { zone, mask }, async (tx) => {
        const { countryCodes, currencyCode, rates, ...name } = changes;
        const found = await tx.em.findOne(ShippingZoneEntity, { id: zone.id });
        const entity = assertCurrent("shipping_zone", zone, found);
        tx.em.assign(entity, {
          ...name,
          ...(currencyCode === undefined ? {} : { currency: currencyCode }),
          ...(rates === undefined ? {} : { rates: storedRates(rates) }),
          updatedAt: clock.now(),
        });
        await tx.em.flush();
        if (countryCodes !== undefined) await setCountries(tx, zone.id, countryCodes);
        return changed(tx, zone.id);
      });
      return result;
    },

    delete(call, id, etag) {
      return db.transact(call, (tx) => deleteZone(tx, "shipping_zone", { id, etag }));
    },
  };
}

/** Invalidates what quotes have cached, and returns the zone as it is stored. */
async function changed(tx: Tx, id: string): Promise<ShippingZone> {
  tx.invalidate(ZONES_TAG);
  const [row] = await tx.query(FIND(id));
  if (row === undefined) throw notFound("shipping_zone", id);
  return shippingZoneFromRow(row);
}

/** Replaces the countries of a zone. @throws AppError already_exists when one of them is in another zone */
async function setCountries(tx: Tx, id: string, codes: readonly string[]): Promise<void> {
  await tx.query(sql`delete from shipping_zone_country where zone_id = ${id}`);
  // Waits for concurrent transactions that write the same countries.
  const added = await tx.query(sql<{ country: string }>`
    insert into shipping_zone_country (country, zone_id)
    select country, ${id}::uuid from unnest(${codes}::text[]) as country order by country
    on conflict do nothing returning country`);
  const free = new Set(added.map(({ country }) => country));
  const taken = codes.filter((code) => !free.has(code));
  if (taken.length === 0) return;
  throw new AppError(
    "already_exists",
    `Countries are in another shipping zone: ${taken.join(", ")}. Remove them from it first.`,
    { reason: "COUNTRY_TAKEN", resource: { type: "shipping_zone_country", name: taken.join(",") } },
  );
}
