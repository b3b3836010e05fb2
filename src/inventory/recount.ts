import { type RawBuilder, sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";

/**
 * Returns those of the locked products whose recount is outdated: a recount with a later time has been recorded. A
 * recount without a time of its own is later than all that were recorded before it, because the lock orders them.
 * Only a time that a caller has stated, which differs from that of the row, can be later.
 * @param effectiveTime time of the recount; undefined for a recount without a time of its own
 * @param now time after the products were locked
 */
export async function findOutdatedRecounts(
  tx: Tx,
  productIds: readonly string[],
  effectiveTime: Date | undefined,
  now: Date,
): Promise<Set<string>> {
  if (productIds.length === 0) return new Set();
  const time = effectiveTime ?? now;
  const isStated = effectiveTime === undefined ? sql`effective_at <> created_at` : sql`true`;
  const rows = await tx.query(sql<{ id: string }>`
    select distinct product_id as id from stock_movement
    where product_id = any(${productIds}::uuid[]) and reason = 'RECOUNT' and effective_at > ${time} and ${isStated}`);
  return new Set(rows.map(({ id }) => id));
}

/**
 * Returns the time at which a recount without a time of its own is recorded: `now`, or one millisecond, the precision
 * of the column, after the latest recount of another instance whose clock is ahead. So the times of these recounts have
 * the order of the lock.
 * @param productId column or parameter with the id of the locked product
 */
export function recountTime(productId: RawBuilder<unknown>, now: Date): RawBuilder<unknown> {
  return sql`greatest(${now}::timestamptz, (
    select max(effective_at) + interval '1 millisecond' from stock_movement
    where product_id = ${productId} and reason = 'RECOUNT' and effective_at >= ${now}::timestamptz))`;
}
