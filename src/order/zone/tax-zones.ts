import { sql } from "kysely";
import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import { keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { violatesConstraint } from "../../infra/postgres/postgres-errors.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import { type Page, type PageRequest, resolvePageSize } from "../../kernel/page.ts";
import { TaxZoneEntity } from "./tax-zone.entity.ts";
import {
  regionKey,
  SORT_BY_REGION,
  type TaxZone,
  type TaxZoneInput,
  type TaxZoneRow,
  taxZoneFromRow,
} from "./tax-zone.ts";
import { ZONES_TAG, type ZoneCreation, type ZoneOptions, type ZoneUpdate } from "./zone-options.ts";
import { assertTaxZone } from "./zone-rules.ts";
import { assertCurrent, deleteZone } from "./zone-versions.ts";

/** A request for a page of tax zones. */
export interface TaxZoneListRequest extends PageRequest {
  /** Empty for all countries. */
  countryCode: string;
}

/** The tax zones of the shop: at most one for a country, and one for each region of it. */
export interface TaxZones {
  /** Returns a zone. @throws AppError not_found */
  get(call: Call, id: string): Promise<TaxZone>;
  /** Returns a page of zones, sorted by country and region. */
  list(call: Call, request: TaxZoneListRequest): Promise<Page<TaxZone>>;
  /**
   * Creates a zone.
   * @throws AppError already_exists when the country or its region has one; invalid_argument for an unknown country or
   *   a repeated tax class; failed_precondition when there are too many zones
   */
  create(call: Call, creation: ZoneCreation<TaxZoneInput>): Promise<TaxZone>;
  /** Changes the fields of the mask. @throws AppError not_found; aborted for a stale etag; as `create` does */
  update(call: Call, update: ZoneUpdate<TaxZoneInput>): Promise<TaxZone>;
  /** Deletes a zone. @throws AppError not_found; aborted for a stale etag */
  delete(call: Call, id: string, etag: string): Promise<void>;
}

/** Maximum number of tax zones. All of them are in the memory of each process. */
export const MAX_TAX_ZONES = 2_000;
/** Advisory lock ("zone" in ASCII) that serializes the creation of tax zones, so that they can be counted. */
const ZONE_LOCK = 0x7a6f6e65;

const UPDATABLE: UpdatableFields<keyof TaxZoneInput> = {
  resource: "tax_zone",
  fields: {
    country_code: "countryCode",
    region: "region",
    prices_include_tax: "pricesIncludeTax",
    rates: "rates",
    shipping_tax_class: "shippingTaxClass",
  },
  required: new Set(["country_code"]),
};

const FIND = prepare<[id: string], TaxZoneRow>((id) => sql`select * from tax_zone where id = ${id}`);

/** Creates the tax zones. */
export function createTaxZones({ db, ids, clock, tokens }: ZoneOptions): TaxZones {
  return {
    async get(call, id) {
      const [row] = await db.read(call, FIND(id));
      if (row === undefined) throw notFound("tax_zone", id);
      return taxZoneFromRow(row);
    },

    async list(call, { countryCode, pageSize, pageToken }) {
      const query = { list: "tax_zones", countryCode };
      const size = resolvePageSize(pageSize);
      const where = allOf([
        countryCode === "" ? undefined : sql`country = ${countryCode}`,
        keysetCondition(SORT_BY_REGION, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<TaxZoneRow>`
        select * from tax_zone where ${where} ${keysetOrder(SORT_BY_REGION)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.country, row.region_key], taxZoneFromRow);
    },

    async create(call, { zone, ...options }) {
      assertPresent({ "tax_zone.country_code": zone.countryCode });
      assertTaxZone(zone);
      const mutation = { ...options, method: "CreateTaxZone" };
      const { result } = await runMutation(db, call, mutation, zone, async (tx) => {
        await assertFewZones(tx);
        const now = clock.now();
        const id = ids();
        const { countryCode: country, rates, ...values } = zone;
        const key = regionKey(zone.region);
        const row = {
          ...values,
          id,
          country,
          regionKey: key,
          rates: [...rates],
          createdAt: now,
          updatedAt: now,
        };
        tx.em.create(TaxZoneEntity, row);
        return save(tx, id, zone);
      });
      return result;
    },

    async update(call, { zone, mask, ...options }) {
      assertPresent({ "tax_zone.id": zone.id });
      const changes = pick(zone, fieldsToUpdate(UPDATABLE, zone, mask));
      assertTaxZone(changes);
      const mutation = { ...options, method: "UpdateTaxZone" };
      const { result } = await runMutation(db, call, mutation, { zone, mask }, async (tx) => {
        const { countryCode, region, rates, ...values } = changes;
        const found = await tx.em.findOne(TaxZoneEntity, { id: zone.id });
        const entity = assertCurrent("tax_zone", zone, found);
        tx.em.assign(entity, {
          ...values,
          ...(countryCode === undefined ? {} : { country: countryCode }),
          ...(region === undefined ? {} : { region, regionKey: regionKey(region) }),
          ...(rates === undefined ? {} : { rates: [...rates] }),
          updatedAt: clock.now(),
        });
        return save(tx, zone.id, { countryCode: entity.country, region: entity.region });
      });
      return result;
    },

    delete(call, id, etag) {
      return db.transact(call, (tx) => deleteZone(tx, "tax_zone", { id, etag }));
    },
  };
}

/** @throws AppError failed_precondition when there are as many zones as there may be */
async function assertFewZones(tx: Tx): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${ZONE_LOCK})`);
  const [row] = await tx.query(sql<{ count: number }>`select count(*)::int as count from tax_zone`);
  if (row === undefined || row.count < MAX_TAX_ZONES) return;
  const description = `there are ${row.count} tax zones; the maximum is ${MAX_TAX_ZONES}`;
  throw new AppError("failed_precondition", `Too many tax zones: ${description}. Delete some first.`, {
    reason: "TOO_MANY_ZONES",
    preconditions: [{ type: "COUNT", subject: "tax_zones", description }],
  });
}

/** Writes the changes of a zone, invalidates what quotes have cached, and returns the zone as it is stored. */
async function save(
  tx: Tx,
  id: string,
  { countryCode, region }: Pick<TaxZoneInput, "countryCode" | "region">,
): Promise<TaxZone> {
  await tx.em.flush().catch((error: unknown) => {
    if (!violatesConstraint(error, "tax_zone_region_unique")) throw error;
    const name = region === "" ? countryCode : `${countryCode} ${region}`;
    throw new AppError("already_exists", `There is a tax zone for ${name}. Change that one instead.`, {
      reason: "TAX_ZONE_EXISTS",
      resource: { type: "tax_zone", name },
    });
  });
  tx.invalidate(ZONES_TAG);
  const [row] = await tx.query(FIND(id));
  if (row === undefined) throw notFound("tax_zone", id);
  return taxZoneFromRow(row);
}
