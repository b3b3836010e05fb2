import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { assertEtag, notFound, staleEtag } from "../../kernel/errors.ts";
import { ZONES_TAG } from "./zone-options.ts";

/** The tables of zones. Their names are those of the resources in errors too. */
export type ZoneTable = "shipping_zone" | "tax_zone";

/** A version of a zone that a caller changes. */
export interface ZoneVersion {
  id: string;
  /** Empty for any version. */
  etag: string;
}

/** Returns a zone that was found. @throws AppError not_found if it was not; aborted for a stale etag */
export function assertCurrent<Entity extends { version: number }>(
  table: ZoneTable,
  { id, etag }: ZoneVersion,
  found: Entity | null,
): Entity {
  if (found === null) throw notFound(table, id);
  assertEtag(table, { id, etag: String(found.version) }, etag);
  return found;
}

/**
 * Deletes a version of a zone, and invalidates what quotes have cached.
 * @throws AppError not_found; aborted for a stale etag, also if the zone changes concurrently
 */
export async function deleteZone(tx: Tx, table: ZoneTable, { id, etag }: ZoneVersion): Promise<void> {
  // Waits for a concurrent change, and then evaluates the condition on the new version.
  const deleted = await tx.query(sql<{ id: string }>`
    delete from ${sql.table(table)}
    where id = ${id} and (${etag}::text = '' or version::text = ${etag}::text) returning id`);
  if (deleted.length === 0) {
    const [row] = await tx.query(
      sql<{ version: number }>`select version from ${sql.table(table)} where id = ${id}`,
    );
    throw row === undefined ? notFound(table, id) : staleEtag(table, id, String(row.version));
  }
  tx.invalidate(ZONES_TAG);
}
