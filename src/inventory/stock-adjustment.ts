import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { type Clock, MAX_CLOCK_SKEW_MS } from "../kernel/clock.ts";
import { AppError, invalidField, notFound } from "../kernel/errors.ts";
import { findOutdatedRecounts, recountTime } from "./recount.ts";
import { availableUnits, lockStock, type StockLevel } from "./stock-level.ts";

/** The reason of a manual change of stock. */
export type StockReason = "RECOUNT" | "RECEIVED" | "DAMAGED" | "RETURNED" | "CORRECTION";

/** A manual change of the stock of one product. */
export interface StockAdjustment {
  productId: string;
  /** Units to add; negative to remove. 0 with `countedOnHand`. */
  delta: bigint;
  /** Counted units in the warehouse, reserved ones included; undefined for a change by `delta`. */
  countedOnHand: bigint | undefined;
  /** Expected units that can be ordered; undefined to skip the check. */
  expectedQuantity: bigint | undefined;
  reason: StockReason;
  /** Time of the count or the event; undefined for now. */
  effectiveTime: Date | undefined;
}

/** The description of the rejection of a recount that is older than one in the ledger. */
export const LATER_COUNT_RECORDED = "a later count has been recorded";

/** The stock of a product before and after a change. */
export interface StockTransition {
  before: StockLevel;
  after: StockLevel;
}

/** Maximum number of units of a product, as in the contracts. */
const MAX_STOCK = 2_000_000_000n;

/**
 * Changes the units on hand of a product and records the change in the ledger. A count that finds no difference
 * is recorded too, so that older counts are outdated.
 * @throws AppError not_found for an unknown product, aborted when the stock is not the expected one,
 *   failed_precondition when it would leave its range or a later recount exists, invalid_argument when
 *   `effectiveTime` is in the future
 */
export async function adjustStock(
  tx: Tx,
  adjustment: StockAdjustment,
  clock: Clock,
): Promise<StockTransition> {
  const { productId, reason, effectiveTime, countedOnHand } = adjustment;
  assertDeltaOrCount(adjustment);
  if (effectiveTime !== undefined && effectiveTime.getTime() > clock.now().getTime() + MAX_CLOCK_SKEW_MS) {
    throw invalidField("effective_time", "must not be in the future");
  }
  const before = (await lockStock(tx, [productId])).get(productId);
  if (before === undefined) throw notFound("product", productId);
  assertExpected(adjustment, availableUnits(before));
  // After the lock: while this transaction waited for it, others may have recorded recounts.
  const now = clock.now();
  if (reason === "RECOUNT") await assertLatestRecount(tx, adjustment, now);
  const delta = countedOnHand === undefined ? adjustment.delta : countedOnHand - before.onHand;
  assertInRange(productId, before, delta);
  await tx.query(sql`
    update inventory set on_hand = on_hand + ${delta}, version = version + 1 where product_id = ${productId}`);
  await recordAdjustment(tx, { ...adjustment, delta }, now);
  return { before, after: { ...before, onHand: before.onHand + delta, version: before.version + 1n } };
}

function assertDeltaOrCount({ delta, countedOnHand, reason }: StockAdjustment): void {
  if (countedOnHand === undefined) {
    if (delta === 0n) throw invalidField("delta", "must not be 0");
    return;
  }
  if (delta !== 0n) throw invalidField("delta", "must be 0 when on_hand_quantity is set");
  if (reason !== "RECOUNT") throw invalidField("on_hand_quantity", "can be set with reason RECOUNT only");
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
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
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

function assertInRange(productId: string, stock: StockLevel, delta: bigint): void {
  const quantity = availableUnits(stock);
  const next = quantity + delta;
  if (next >= 0n && (delta < 0n || stock.onHand + delta <= MAX_STOCK)) return;
  const description =
    next < 0n ? `${quantity} left, ${-delta} to be removed` : `the maximum is ${MAX_STOCK} units on hand`;
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
