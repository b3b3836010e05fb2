import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Promotion } from "../promotion/promotion-row.ts";
import type { Purchase } from "./purchase-row.ts";

/**
 * Checks the limits of promotions after their new purchases were written; the error rolls these back. The promotions
 * are locked, so that no other transaction adds purchases in between.
 * @throws AppError failed_precondition when a limit is exceeded
 */
export async function assertWithinLimits(
  tx: Tx,
  promotions: ReadonlyMap<string, Promotion>,
  purchases: readonly Purchase[],
): Promise<void> {
  for (const promotion of promotions.values()) {
    const sales = purchases.filter(
      ({ promotionId, kind }) => promotionId === promotion.id && kind === "SALE",
    );
    if (sales.length === 0) continue;
    if (promotion.purchaseLimit > 0n) await assertTotalLimit(tx, promotion);
    if (promotion.purchaseLimitPerUser > 0n) {
      const userIds = [...new Set(sales.map((sale) => sale.userId))];
      await assertUserLimit(tx, promotion, userIds);
    }
  }
}

type TotalLimit = Pick<Promotion, "id" | "purchaseLimit">;

async function assertTotalLimit(tx: Tx, { id, purchaseLimit }: TotalLimit): Promise<void> {
  const [row] = await tx.query(sql<{ count: string }>`
    select sum(sale_count - reversal_count) as count from purchase_total where promotion_id = ${id}`);
  if (BigInt(row?.count ?? 0) > purchaseLimit) throw totalLimitReached({ id, purchaseLimit });
}

async function assertUserLimit(
  tx: Tx,
  { id, purchaseLimitPerUser }: Promotion,
  userIds: readonly string[],
): Promise<void> {
  const [exceeding] = await tx.query(sql<{ user_id: string }>`
    select user_id from purchase
    where promotion_id = ${id} and user_id = any(${userIds}::text[])
    group by user_id
    having count(*) filter (where kind = 'SALE') - count(*) filter (where kind = 'REVERSAL')
      > ${purchaseLimitPerUser}::bigint
    limit 1`);
  if (exceeding !== undefined) throw userLimitReached({ id, purchaseLimitPerUser }, exceeding.user_id);
}

/** Returns FAILED_PRECONDITION for a promotion whose purchases are used. */
export function totalLimitReached({ id, purchaseLimit }: TotalLimit): AppError {
  return limitReached(id, `all ${purchaseLimit} purchases of the promotion are used`);
}

/** Returns FAILED_PRECONDITION for a user who has made all purchases that a promotion allows. */
export function userLimitReached(
  { id, purchaseLimitPerUser }: Pick<Promotion, "id" | "purchaseLimitPerUser">,
  userId: string,
): AppError {
  return limitReached(
    id,
    `user ${userId} has reached the limit of ${formatCount(purchaseLimitPerUser)} per user`,
  );
}

const formatCount = (purchases: bigint): string => `${purchases} purchase${purchases === 1n ? "" : "s"}`;

function limitReached(promotionId: string, description: string): AppError {
  return new AppError(
    "failed_precondition",
    `Purchase limit reached: ${description}. Nothing was recorded.`,
    {
      reason: "PURCHASE_LIMIT_REACHED",
      preconditions: [{ type: "PURCHASE_LIMIT", subject: `promotions/${promotionId}`, description }],
    },
  );
}
