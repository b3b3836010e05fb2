import { MAX_CLOCK_SKEW_MS } from "../kernel/clock.ts";
import { AppError, invalidField } from "../kernel/errors.ts";
import { availableUnits, type StockLevel } from "./stock-level.ts";

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
const LATER_COUNT_RECORDED = "a later count has been recorded";

/** Maximum number of units of a product on hand, as in the contracts. */
export const MAX_STOCK = 2_000_000_000n;

/** Times of the recounts of a product that later ones are compared with; undefined for none. */
export interface RecountTimes {
  /** The latest time of a recount. */
  latest: Date | undefined;
  /** The latest time of those recounts whose time the caller has stated. */
  latestStated: Date | undefined;
}

/** The stock of a locked product, with what the rules of an adjustment depend on. */
export interface AdjustableStock {
  level: StockLevel;
  recounts: RecountTimes;
}

/** A change of the units on hand, as it is recorded in the ledger. */
export interface RecordedAdjustment {
  productId: string;
  delta: bigint;
  reason: string;
  effectiveAt: Date;
  createdAt: Date;
}

/**
 * Checks an adjustment by itself.
 * @throws AppError invalid_argument
 */
export function assertValid(
  { delta, countedOnHand, reason, effectiveTime }: StockAdjustment,
  now: Date,
): void {
  if (countedOnHand === undefined) {
    if (delta === 0n) throw invalidField("delta", "must not be 0 unless on_hand_quantity is set");
  } else {
    if (delta !== 0n) throw invalidField("delta", "must be 0 when on_hand_quantity is set");
    if (reason !== "RECOUNT") throw invalidField("on_hand_quantity", "can be set with reason RECOUNT only");
  }
  if (effectiveTime !== undefined && effectiveTime.getTime() > now.getTime() + MAX_CLOCK_SKEW_MS) {
    throw invalidField("effective_time", "must not be in the future");
  }
}

/**
 * Applies an adjustment to the stock of a product.
 * @param now time after the product was locked
 * @returns the stock afterwards, and the entry of the ledger
 * @throws AppError aborted when the stock is not the expected one, failed_precondition when it would leave its range or a
 *   later recount exists
 */
export function applyAdjustment(
  { level, recounts }: AdjustableStock,
  adjustment: StockAdjustment,
  now: Date,
): { stock: AdjustableStock; recorded: RecordedAdjustment } {
  const { productId, reason, countedOnHand } = adjustment;
  assertExpected(adjustment, availableUnits(level));
  if (reason === "RECOUNT") assertLatestRecount(adjustment, recounts, now);
  const delta = countedOnHand === undefined ? adjustment.delta : countedOnHand - level.onHand;
  assertInRange(adjustment, level, delta);
  const { effectiveAt, createdAt } = recordTimes(adjustment, recounts, now);
  return {
    stock: {
      level: { ...level, onHand: level.onHand + delta, version: level.version + 1n },
      recounts: reason === "RECOUNT" ? addRecount(recounts, effectiveAt, createdAt) : recounts,
    },
    recorded: { productId, delta, reason, effectiveAt, createdAt },
  };
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

function assertInRange(
  { productId, countedOnHand }: StockAdjustment,
  { onHand, reserved }: StockLevel,
  delta: bigint,
): void {
  const next = onHand + delta;
  if (next < reserved) {
    const description =
      countedOnHand === undefined
        ? `${onHand - reserved} left, ${-delta} to be removed`
        : `${next} units were counted, but pending orders have reserved ${reserved}`;
    throw outOfRange(productId, "OUT_OF_STOCK", description);
  }
  if (delta > 0n) assertBelowMaximum(productId, next, reserved);
}

/** @throws AppError failed_precondition when more units would be on hand than the contracts allow */
export function assertBelowMaximum(productId: string, onHand: bigint, reserved: bigint): void {
  if (onHand <= MAX_STOCK) return;
  const description = `${onHand} units would be on hand, of which pending orders have reserved ${reserved}; the maximum is ${MAX_STOCK}`;
  throw outOfRange(productId, "STOCK_TOO_LARGE", description);
}

function outOfRange(productId: string, reason: string, description: string): AppError {
  return new AppError("failed_precondition", `The stock cannot be changed: ${description}.`, {
    reason,
    preconditions: [{ type: "STOCK", subject: `products/${productId}`, description }],
  });
}

/**
 * Counts can arrive out of order: an older one must not overwrite a later one. A recount without a time of its own is
 * later than all that were recorded before it, except those whose stated time is in the future.
 */
function assertLatestRecount(
  { productId, effectiveTime }: StockAdjustment,
  { latest, latestStated }: RecountTimes,
  now: Date,
): void {
  const [time, recorded] = effectiveTime === undefined ? [now, latestStated] : [effectiveTime, latest];
  if (recorded === undefined || recorded <= time) return;
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

/**
 * Returns the times of an entry of the ledger. A recount without a time of its own gets `now`, or one millisecond, the
 * precision of the column, after the latest recount of another instance whose clock is ahead. So the times of these
 * recounts have the order of the lock.
 */
function recordTimes(
  { reason, effectiveTime }: StockAdjustment,
  { latest }: RecountTimes,
  now: Date,
): { effectiveAt: Date; createdAt: Date } {
  if (reason !== "RECOUNT" || effectiveTime !== undefined) {
    return { effectiveAt: effectiveTime ?? now, createdAt: now };
  }
  const time = latest === undefined || latest < now ? now : new Date(latest.getTime() + 1);
  return { effectiveAt: time, createdAt: time };
}

function addRecount(
  { latest, latestStated }: RecountTimes,
  effectiveAt: Date,
  createdAt: Date,
): RecountTimes {
  const isStated = effectiveAt.getTime() !== createdAt.getTime();
  return {
    latest: laterOf(latest, effectiveAt),
    latestStated: isStated ? laterOf(latestStated, effectiveAt) : latestStated,
  };
}

function laterOf(time: Date | undefined, other: Date): Date {
  return time === undefined || time < other ? other : time;
}
