import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { AppError } from "../../kernel/errors.ts";
import { type Promotion, type PromotionRow, promotionFromRow, SELECT_PROMOTION } from "./promotion-row.ts";

/** Returns promotions by id, in the state that they have at `now`; unknown ids are absent. */
export async function findPromotions(
  tx: Tx,
  ids: readonly string[],
  now: Date,
): Promise<Map<string, Promotion>> {
  const rows = await tx.query(
    sql<PromotionRow>`${SELECT_PROMOTION} where id = any(${[...new Set(ids)]}::uuid[])`,
  );
  return new Map(rows.map((row) => [row.id, promotionFromRow(row, now)]));
}

/**
 * Returns promotions by id. Those with a limit are locked in id order until the transaction ends, so that concurrent
 * purchases cannot exceed it; unknown ids are absent.
 */
export async function lockPromotions(
  tx: Tx,
  ids: readonly string[],
  now: Date,
): Promise<Map<string, Promotion>> {
  const promotions = await findPromotions(tx, ids, now);
  const limitedIds = [...promotions.values()]
    .filter(({ purchaseLimit, purchaseLimitPerUser }) => purchaseLimit > 0n || purchaseLimitPerUser > 0n)
    .map(({ id }) => id);
  if (limitedIds.length === 0) return promotions;
  const locked = await tx.query(sql<PromotionRow>`
    ${SELECT_PROMOTION} where id = any(${limitedIds}::uuid[]) order by id for no key update`);
  // They may have changed before they were locked.
  for (const row of locked) promotions.set(row.id, promotionFromRow(row, now));
  return promotions;
}

/** Returns FAILED_PRECONDITION for a promotion that is not active. */
export function promotionNotRunning(id: string, description: string): AppError {
  return new AppError("failed_precondition", `Promotion ${id} ${description}. Nothing was changed.`, {
    reason: "PROMOTION_NOT_RUNNING",
    preconditions: [{ type: "PROMOTION", subject: `promotions/${id}`, description }],
  });
}
