import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";

/** Returns the cache tag of what depends on a session. */
export const sessionTag = (id: string): string => `session:${id}`;

/**
 * Revokes the active sessions that meet a condition.
 * @returns the number of revoked sessions
 */
export async function revokeWhere(tx: Tx, now: Date, condition: RawBuilder<unknown>): Promise<number> {
  const rows = await tx.query(sql<{ id: string }>`
    update session set refresh_hash = null, ended_at = ${now}, expires_at = least(expires_at, ${now})
    where ended_at is null and ${condition} returning id`);
  tx.invalidate(...rows.map(({ id }) => sessionTag(id)));
  return rows.length;
}
