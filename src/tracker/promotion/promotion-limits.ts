import type { Tx } from "../../infra/postgres/postgres.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { totalLimitReached, userLimitReached } from "../ingestion/purchase-limits.ts";
import { findPromotions, lockPromotions, promotionNotRunning } from "./lock-promotions.ts";
import type { Promotion } from "./promotion-row.ts";
import { countPurchases, countUserPurchases, userKey } from "./purchase-counts.ts";

const UNORDERED = "Nothing was ordered.";

/** The parts of an order that decide whether it can take part in a promotion. */
export interface PromotedOrderRequest {
  /** Empty for an order without a promotion. */
  promotionId: string;
  /** Empty for a guest. */
  customerId: string;
}

/** The purchases that promotions still allow to the orders of one transaction. They are counted in memory. */
export interface PromotionLimits {
  /**
   * Takes the purchases of an order: one for each of its items.
   * @throws AppError not_found for an unknown promotion; failed_precondition when it is not active, has reached a limit,
   *   or limits the purchases of each user and the order is that of a guest. Nothing is taken then
   */
  take(order: PromotedOrderRequest, purchases: number, now: Date): void;
}

/**
 * Reads the promotions of orders, and counts the recorded and the held purchases of those with limits.
 * @param isLocked whether promotions with limits are locked in id order until the transaction ends, so that no other
 *   transaction adds or holds purchases
 */
export async function readPromotionLimits(
  tx: Tx,
  orders: readonly PromotedOrderRequest[],
  now: Date,
  isLocked: boolean,
): Promise<PromotionLimits> {
  const promoted = orders.filter(({ promotionId }) => promotionId !== "");
  const ids = promoted.map(({ promotionId }) => promotionId);
  if (ids.length === 0) return { take: () => {} };
  const promotions = await (isLocked ? lockPromotions : findPromotions)(tx, ids, now);
  const totals = await countPurchases(
    tx,
    [...promotions.values()].filter((one) => one.purchaseLimit > 0n).map(({ id }) => id),
  );
  const userCounts = await countUserPurchases(
    tx,
    promoted
      .filter(({ promotionId }) => (promotions.get(promotionId)?.purchaseLimitPerUser ?? 0n) > 0n)
      .map(({ promotionId, customerId }) => ({ promotionId, userId: customerId })),
  );
  return {
    take({ promotionId, customerId }, purchases, at) {
      if (promotionId === "") return;
      const promotion = promotions.get(promotionId);
      if (promotion === undefined) throw notFound("promotion", promotionId);
      assertAcceptsOrders(promotion, customerId, at);
      const count = BigInt(purchases);
      const total = (totals.get(promotionId) ?? 0n) + count;
      if (promotion.purchaseLimit > 0n && total > promotion.purchaseLimit)
        throw totalLimitReached(promotion, UNORDERED);
      const key = userKey({ promotionId, userId: customerId });
      const ofUser = (userCounts.get(key) ?? 0n) + count;
      if (promotion.purchaseLimitPerUser > 0n && ofUser > promotion.purchaseLimitPerUser) {
        throw userLimitReached(promotion, customerId, UNORDERED);
      }
      totals.set(promotionId, total);
      userCounts.set(key, ofUser);
    },
  };
}

function assertAcceptsOrders(
  { id, startTime, endTime, purchaseLimitPerUser }: Promotion,
  customerId: string,
  now: Date,
): void {
  if (endTime !== undefined && endTime <= now) throw promotionNotRunning(id, "has ended");
  if (startTime > now) throw promotionNotRunning(id, "has not started");
  if (customerId !== "" || purchaseLimitPerUser === 0n) return;
  const description = "limits the purchases of each customer, so the order needs a customer_id";
  throw new AppError("failed_precondition", `Promotion ${id} ${description}.`, {
    reason: "CUSTOMER_REQUIRED",
    preconditions: [{ type: "CUSTOMER", subject: `promotions/${id}`, description }],
  });
}
