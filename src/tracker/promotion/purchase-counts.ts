import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";

/** A user in a promotion. */
export interface PromotionUser {
  promotionId: string;
  userId: string;
}

type Texts = readonly string[];

const COUNT = prepare<[ids: Texts], { id: string; count: string }>(
  (ids) => sql`
    select id, held_purchases + coalesce((
      select sum(sale_count - reversal_count) from purchase_total where promotion_id = promotion.id
    ), 0) as count
    from promotion where id = any(${ids}::uuid[])`,
);
// A subquery for each user, so that no plan reads all purchases.
const COUNT_OF_USERS = prepare<
  [promotionIds: Texts, userIds: Texts],
  { promotion_id: string; user_id: string; count: string }
>(
  (promotionIds, userIds) => sql`
    select promotion_id, user_id, (
      select count(*) filter (where kind = 'SALE') - count(*) filter (where kind = 'REVERSAL' and counts)
      from purchase where promotion_id = buyer.promotion_id and user_id = buyer.user_id
    ) + coalesce((
      select sum(purchases) from promotion_hold
      where promotion_id = buyer.promotion_id and user_id = buyer.user_id
    ), 0) as count
    from (
      select distinct * from unnest(${promotionIds}::uuid[], ${userIds}::text[]) as one (promotion_id, user_id)
    ) as buyer`,
);

/**
 * Counts the purchases that count towards the limits of promotions: recorded ones that are not reversed, and those that
 * unpaid orders hold.
 * @returns the counts by the id of the promotion
 */
export async function countPurchases(tx: Tx, promotionIds: Texts): Promise<Map<string, bigint>> {
  if (promotionIds.length === 0) return new Map();
  const rows = await tx.query(COUNT(promotionIds));
  return new Map(rows.map(({ id, count }) => [id, BigInt(count)]));
}

/**
 * Counts the purchases of users like `countPurchases`.
 * @returns the counts by `userKey`
 */
export async function countUserPurchases(
  tx: Tx,
  users: readonly PromotionUser[],
): Promise<Map<string, bigint>> {
  if (users.length === 0) return new Map();
  const rows = await tx.query(
    COUNT_OF_USERS(
      users.map(({ promotionId }) => promotionId),
      users.map(({ userId }) => userId),
    ),
  );
  return new Map(
    rows.map((row) => [userKey({ promotionId: row.promotion_id, userId: row.user_id }), BigInt(row.count)]),
  );
}

/** Returns the text that identifies a user in a promotion. */
export function userKey({ promotionId, userId }: PromotionUser): string {
  return `${promotionId} ${userId}`;
}
