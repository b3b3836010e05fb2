import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { totalLimitReached, userLimitReached } from "../ingestion/purchase-limits.ts";
import { findPromotions, lockPromotions, promotionNotRunning } from "./lock-promotions.ts";
import type { Promotion } from "./promotion-row.ts";

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

/** Purchases without those that were reversed, by the id of the promotion, or by that and the user. */
type Counts = Map<string, bigint>;

/**
 * Reads the promotions of orders, and counts the purchases of those with limits.
 * @param isLocked whether promotions with limits are locked in id order until the transaction ends, so that no other
 *   transaction adds purchases
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
  const totals = await countPurchases(tx, promotions);
  const userCounts = await countUserPurchases(tx, promotions, promoted);
  return {
    take({ promotionId, customerId }, purchases, at) {
      if (promotionId === "") return;
      const promotion = promotions.get(promotionId);
      if (promotion === undefined) throw notFound("promotion", promotionId);
      assertAcceptsOrders(promotion, customerId, at);
      const count = BigInt(purchases);
      const total = (totals.get(promotionId) ?? 0n) + count;
      if (promotion.purchaseLimit > 0n && total > promotion.purchaseLimit) throw totalLimitReached(promotion);
      const key = userKey(promotionId, customerId);
      const ofUser = (userCounts.get(key) ?? 0n) + count;
      if (promotion.purchaseLimitPerUser > 0n && ofUser > promotion.purchaseLimitPerUser) {
        throw userLimitReached(promotion, customerId);
      }
      totals.set(promotionId, total);
      userCounts.set(key, ofUser);
    },
  };
}

const userKey = (promotionId: string, userId: string): string => `${promotionId} ${userId}`;

async function countPurchases(tx: Tx, promotions: ReadonlyMap<string, Promotion>): Promise<Counts> {
  const ids = [...promotions.values()].filter((one) => one.purchaseLimit > 0n).map(({ id }) => id);
  if (ids.length === 0) return new Map();
  const rows = await tx.query(sql<{ promotion_id: string; count: string }>`
    select promotion_id, sum(sale_count - reversal_count) as count from purchase_total
    where promotion_id = any(${ids}::uuid[]) group by promotion_id`);
  return new Map(rows.map((row) => [row.promotion_id, BigInt(row.count)]));
}

async function countUserPurchases(
  tx: Tx,
  promotions: ReadonlyMap<string, Promotion>,
  orders: readonly PromotedOrderRequest[],
): Promise<Counts> {
  const limited = orders.filter(
    ({ promotionId, customerId }) =>
      customerId !== "" && (promotions.get(promotionId)?.purchaseLimitPerUser ?? 0n) > 0n,
  );
  if (limited.length === 0) return new Map();
  const rows = await tx.query(sql<{ promotion_id: string; user_id: string; count: string }>`
    select promotion_id, user_id,
      count(*) filter (where kind = 'SALE') - count(*) filter (where kind = 'REVERSAL') as count
    from purchase
    where (promotion_id, user_id) in (
      select * from unnest(
        ${limited.map(({ promotionId }) => promotionId)}::uuid[],
        ${limited.map(({ customerId }) => customerId)}::text[]
      )
    )
    group by promotion_id, user_id`);
  return new Map(rows.map((row) => [userKey(row.promotion_id, row.user_id), BigInt(row.count)]));
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
