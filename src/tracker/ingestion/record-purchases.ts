import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { MAX_CLOCK_SKEW_MS } from "../../kernel/clock.ts";
import { invalidField, notFound } from "../../kernel/errors.ts";
import { lockPromotions, promotionNotRunning } from "../promotion/lock-promotions.ts";
import type { Promotion } from "../promotion/promotion-row.ts";
import { assertWithinLimits } from "./purchase-limits.ts";
import { type Purchase, type PurchaseRow, purchaseFromRow } from "./purchase-row.ts";
import { writePurchases } from "./write-purchases.ts";

/** A purchase to record. */
export interface NewPurchase extends Omit<Purchase, "partial" | "purchaseTime" | "createTime"> {
  /** Defaults to now. */
  purchaseTime: Date | undefined;
}

/** A recorded purchase, and whether it was recorded before. */
export interface RecordedPurchase {
  purchase: Purchase;
  duplicate: boolean;
}

/**
 * Records purchases and adds them to the totals, in the caller's transaction. Each event_id is counted once, whether it
 * was recorded before or is repeated here.
 * @param path returns the path of a purchase in the request, such as `purchases[3]`
 * @returns the purchases in the same order
 * @throws AppError failed_precondition when a promotion is not active or a limit is exceeded; invalid_argument for an event_id
 *   of another purchase or a time in the future; not_found for an unknown promotion or product
 */
export async function recordPurchases(
  tx: Tx,
  inputs: readonly NewPurchase[],
  now: Date,
  path: (index: number) => string,
): Promise<RecordedPurchase[]> {
  const promotionIds = inputs.map((input) => input.promotionId);
  const promotions = await lockPromotions(tx, promotionIds, now);
  const entries = inputs.map((input) => ({
    input,
    purchase: { ...input, partial: false, purchaseTime: input.purchaseTime ?? now, createTime: now },
  }));
  const firstByEventId = new Map<string, Purchase>(
    entries.toReversed().map(({ purchase }) => [purchase.eventId, purchase]),
  );
  const distinct = [...firstByEventId.values()];
  const newIds = await writePurchases(tx, distinct);
  const earlierById = await findPurchases(
    tx,
    distinct.map(({ eventId }) => eventId).filter((eventId) => !newIds.has(eventId)),
  );
  await assertWithinLimits(
    tx,
    promotions,
    distinct.filter(({ eventId }) => newIds.has(eventId)),
  );

  return entries.map(({ input, purchase }, index) => {
    const { eventId } = purchase;
    if (newIds.has(eventId) && firstByEventId.get(eventId) === purchase) {
      // Only new purchases need an active promotion: repeated ones are acknowledged in any case.
      assertPromotionActive(promotions.get(purchase.promotionId), purchase, now, path(index));
      return { purchase, duplicate: false };
    }
    const earlier = earlierById.get(eventId) ?? firstByEventId.get(eventId) ?? purchase;
    assertSamePurchase(input, earlier, path(index));
    return { purchase: earlier, duplicate: true };
  });
}

async function findPurchases(tx: Tx, eventIds: readonly string[]): Promise<Map<string, Purchase>> {
  if (eventIds.length === 0) return new Map();
  const rows = await tx.query(sql<PurchaseRow>`
    select * from purchase where event_id = any(${eventIds}::uuid[])`);
  return new Map(rows.map((row) => [row.event_id, purchaseFromRow(row)]));
}

function assertPromotionActive(
  promotion: Promotion | undefined,
  { promotionId, purchaseTime }: Purchase,
  now: Date,
  path: string,
): void {
  if (promotion === undefined) throw notFound("promotion", promotionId);
  if (purchaseTime.getTime() > now.getTime() + MAX_CLOCK_SKEW_MS) {
    throw invalidField(`${path}.purchase_time`, "must not be in the future");
  }
  if (purchaseTime < promotion.startTime) {
    throw promotionNotRunning(promotionId, "had not started at the time of the purchase");
  }
  if (promotion.endTime !== undefined && purchaseTime >= promotion.endTime) {
    throw promotionNotRunning(promotionId, "had ended at the time of the purchase");
  }
}

function assertSamePurchase(input: NewPurchase, earlier: Purchase, path: string): void {
  const isSame =
    input.userId === earlier.userId &&
    input.promotionId === earlier.promotionId &&
    input.productId === earlier.productId &&
    input.amount.currencyCode === earlier.amount.currencyCode &&
    input.amount.minorUnits === earlier.amount.minorUnits &&
    (input.purchaseTime === undefined || input.purchaseTime.getTime() === earlier.purchaseTime.getTime());
  if (isSame) return;
  throw invalidField(
    `${path}.event_id`,
    "was used before for another purchase. Generate a new UUID for each new purchase.",
    "EVENT_ID_REUSED",
  );
}
