import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { type Clock, MAX_CLOCK_SKEW_MS } from "../kernel/clock.ts";
import { AppError, invalidField, notFound } from "../kernel/errors.ts";
import { findOutdatedRecounts, recountTime } from "./recount.ts";
import { lockStock } from "./stock-level.ts";

/** The reason of a manual change of stock. */
export type StockReason = "RECOUNT" | "RECEIVED" | "DAMAGED" | "RETURNED" | "CORRECTION";

/** A manual change of the stock of one product. */
export interface StockAdjustment {
  productId: string;
  /** Units to add; negative to remove. */
  delta: bigint;
  /** Expected units on hand; undefined to skip the check. */
  expectedQuantity: bigint | undefined;
  reason: StockReason;
  /** Time of the count or the event; undefined for now. */
  effectiveTime: Date | undefined;
}

/** The description of the rejection of a recount that is older than one in the ledger. */
export const LATER_COUNT_RECORDED = "a later count has been recorded";

/** Maximum number of units of a product. */
const MAX_STOCK = 1_000_000_000n;

/**
 * Changes the stock of a product and records the change in the ledger.
 * @returns the units on hand before the change
 * @throws AppError not_found for an unknown product, aborted when the stock is not the expected one,
 *   failed_precondition when it would leave its range or a later recount exists, invalid_argument when
 *   `effectiveTime` is in the future
 */
export async function adjustStock(tx: Tx, adjustment: StockAdjustment, clock: Clock): Promise<bigint> {
  const { productId, delta, reason, effectiveTime } = adjustment;
  if (effectiveTime !== undefined && effectiveTime.getTime() > clock.now().getTime() + MAX_CLOCK_SKEW_MS) {
    throw invalidField("effective_time", "must not be in the future");
  }
  const stock = (await lockStock(tx, [productId], sql`id`)).get(productId);
  if (stock === undefined) throw notFound("product", productId);
  assertExpected(adjustment, stock.quantity);
  // After the lock: while this transaction waited for it, others may have recorded recounts.
  const now = clock.now();
  if (reason === "RECOUNT") await assertLatestRecount(tx, adjustment, now);
  assertInRange(productId, stock.quantity, delta);
  await tx.query(sql`update product set stock_quantity = stock_quantity + ${delta} where id = ${productId}`);
  await recordAdjustment(tx, adjustment, now);
  return stock.quantity;
}

/** Inserts the change into the ledger. */
async function recordAdjustment(
  tx: Tx,
  { productId, delta, reason, effectiveTime }: StockAdjustment,
  now: Date,
): Promise<void> {
  const isRecountNow = reason === "RECOUNT" && effectiveTime === undefined;
  const time = isRecountNow ? recountTime(sql`${productId}::uuid`, now) : sql`${now}::timestamptz`;
  await tx.query(sql`
    insert into stock_movement (product_id, delta, reason, effective_at, created_at)
    select ${productId}::uuid, ${delta}::bigint, ${reason}, coalesce(${effectiveTime ?? null}::timestamptz, time), time
    from (select ${time} as time) as recorded`);
}

function assertExpected({ productId, expectedQuantity }: StockAdjustment, quantity: bigint): void {
  if (expectedQuantity === undefined || expectedQuantity === quantity) return;
  throw new AppError(
    "aborted",
    `The stock is ${quantity}, not ${expectedQuantity}. Read the product again and repeat the change.`,
    {
      reason: "STOCK_CHANGED",
      metadata: { current_quantity: quantity.toString() },
      resource: { type: "product", name: productId },
    },
  );
}

function assertInRange(productId: string, quantity: bigint, delta: bigint): void {
  const next = quantity + delta;
  if (next >= 0n && next <= MAX_STOCK) return;
  const description =
    next < 0n ? `${quantity} left, ${-delta} to be removed` : `the maximum is ${MAX_STOCK} units`;
  throw new AppError("failed_precondition", `The stock cannot become ${next}: ${description}.`, {
    reason: next < 0n ? "OUT_OF_STOCK" : "STOCK_TOO_LARGE",
    preconditions: [{ type: "STOCK", subject: `products/${productId}`, description }],
  });
}

/** Counts can arrive out of order: an older one must not overwrite a later one. */
async function assertLatestRecount(
  tx: Tx,
  { productId, effectiveTime }: StockAdjustment,
  now: Date,
): Promise<void> {
  const outdated = await findOutdatedRecounts(tx, [productId], effectiveTime, now);
  if (outdated.size === 0) return;
  throw new AppError(
    "failed_precondition",
    `This count is outdated: ${LATER_COUNT_RECORDED}. Nothing was changed.`,
    {
      reason: "RECOUNT_OUTDATED",
      preconditions: [
        { type: "RECOUNT", subject: `products/${productId}`, description: LATER_COUNT_RECORDED },
      ],
    },
  );
}
