import type { Tx } from "../../infra/postgres/postgres.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Promotion } from "../promotion/promotion-row.ts";
import { countPurchases, countUserPurchases, userKey } from "../promotion/purchase-counts.ts";
import type { Purchase } from "./purchase-row.ts";

const UNRECORDED = "Nothing was recorded.";

/**
 * Checks the limits of promotions after their new purchases were written; the error rolls these back. The promotions
 * are locked, so that no other transaction adds or holds purchases in between.
 * @throws AppError failed_precondition when a limit is exceeded
 */
export async function assertWithinLimits(
  tx: Tx,
  promotions: ReadonlyMap<string, Promotion>,
  purchases: readonly Purchase[],
): Promise<void> {
  const sales = purchases.filter(({ kind }) => kind === "SALE");
  const promoted = new Set(sales.map(({ promotionId }) => promotionId));
  const limited = [...promotions.values()].filter(
    ({ id, purchaseLimit }) => promoted.has(id) && purchaseLimit > 0n,
  );
  const counts = await countPurchases(
    tx,
    limited.map(({ id }) => id),
  );
  for (const promotion of limited) {
    if ((counts.get(promotion.id) ?? 0n) > promotion.purchaseLimit)
      throw totalLimitReached(promotion, UNRECORDED);
  }
  const userLimit = ({ promotionId }: Purchase) => promotions.get(promotionId)?.purchaseLimitPerUser ?? 0n;
  const ofUsers = sales.filter((sale) => userLimit(sale) > 0n);
  const userCounts = await countUserPurchases(tx, ofUsers);
  for (const sale of ofUsers) {
    const id = sale.promotionId;
    const purchaseLimitPerUser = userLimit(sale);
    if ((userCounts.get(userKey(sale)) ?? 0n) <= purchaseLimitPerUser) continue;
    throw userLimitReached({ id, purchaseLimitPerUser }, sale.userId, UNRECORDED);
  }
}

/**
 * Returns FAILED_PRECONDITION for a promotion whose purchases are used.
 * @param outcome sentence that says what has become of the request
 */
export function totalLimitReached(
  { id, purchaseLimit }: Pick<Promotion, "id" | "purchaseLimit">,
  outcome: string,
): AppError {
  return limitReached(id, `all ${purchaseLimit} purchases of the promotion are used`, outcome);
}

/**
 * Returns FAILED_PRECONDITION for a user who has made all purchases that a promotion allows.
 * @param outcome sentence that says what has become of the request
 */
export function userLimitReached(
  { id, purchaseLimitPerUser }: Pick<Promotion, "id" | "purchaseLimitPerUser">,
  userId: string,
  outcome: string,
): AppError {
  return limitReached(
    id,
    `user ${userId} has reached the limit of ${formatCount(purchaseLimitPerUser)} per user`,
    outcome,
  );
}

const formatCount = (purchases: bigint): string => `${purchases} purchase${purchases === 1n ? "" : "s"}`;

function limitReached(promotionId: string, description: string, outcome: string): AppError {
  return new AppError("failed_precondition", `Purchase limit reached: ${description}. ${outcome}`, {
    reason: "PURCHASE_LIMIT_REACHED",
    preconditions: [{ type: "PURCHASE_LIMIT", subject: `promotions/${promotionId}`, description }],
  });
}
