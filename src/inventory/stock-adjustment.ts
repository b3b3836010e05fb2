import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import {
  type AdjustableStock,
  applyAdjustment,
  assertValid,
  type RecordedAdjustment,
  type RecountTimes,
  type StockAdjustment,
} from "./adjustment-rules.ts";
import type { StockLevel } from "./stock-level.ts";
import type { StockTransition } from "./stock-transition.ts";

/**
 * Changes the units on hand of locked products, one adjustment after the other, and records the changes in the ledger.
 * A count that finds no difference is recorded too, so that older counts are outdated.
 * @param levels stock of the products; unknown products are absent
 * @param now time after the stock was locked: while the transaction waited for it, others may have recorded recounts
 * @returns for each adjustment the stock of its product before and after it, or the AppError for which it changes
 *   nothing: not_found for an unknown product, aborted when the stock is not the expected one, failed_precondition when
 *   it would leave its range or a later recount exists, invalid_argument when `effectiveTime` is in the future or the
 *   adjustment has both a delta and a count, or none
 */
export async function adjustStocks(
  tx: Tx,
  levels: ReadonlyMap<string, StockLevel>,
  adjustments: readonly StockAdjustment[],
  now: Date,
): Promise<(StockTransition | AppError)[]> {
  const recounts = await readRecounts(tx, adjustments, now);
  const stocks = new Map<string, AdjustableStock>(
    [...levels].map(([id, level]) => [id, { level, recounts: recounts.get(id) ?? NO_RECOUNTS }]),
  );
  const recorded: RecordedAdjustment[] = [];
  const outcomes = adjustments.map((adjustment): StockTransition | AppError => {
    const { productId } = adjustment;
    try {
      assertValid(adjustment, now);
      const before = stocks.get(productId);
      if (before === undefined) throw notFound("product", productId);
      const applied = applyAdjustment(before, adjustment, now);
      stocks.set(productId, applied.stock);
      recorded.push(applied.recorded);
      return { productId, before: before.level, after: applied.stock.level };
    } catch (error) {
      if (error instanceof AppError) return error;
      throw error;
    }
  });
  await recordAdjustments(tx, recorded);
  return outcomes;
}

const NO_RECOUNTS: RecountTimes = { latest: undefined, latestStated: undefined };

/** Reads the times of recounts that can be later than the adjustments, by product. */
async function readRecounts(
  tx: Tx,
  adjustments: readonly StockAdjustment[],
  now: Date,
): Promise<Map<string, RecountTimes>> {
  const recounts = adjustments.filter(({ reason }) => reason === "RECOUNT");
  if (recounts.length === 0) return new Map();
  const earliestMs = Math.min(
    now.getTime(),
    ...recounts.map(({ effectiveTime }) => (effectiveTime ?? now).getTime()),
  );
  const rows = await tx.query(sql<{ id: string; latest: string; latest_stated: string | null }>`
    select product_id as id, max(effective_at) as latest,
      max(effective_at) filter (where effective_at <> created_at) as latest_stated
    from stock_movement
    where product_id = any(${recounts.map(({ productId }) => productId)}::uuid[]) and reason = 'RECOUNT'
      and effective_at >= ${new Date(earliestMs)}
    group by product_id`);
  return new Map(
    rows.map(({ id, latest, latest_stated: stated }) => [
      id,
      { latest: new Date(latest), latestStated: stated === null ? undefined : new Date(stated) },
    ]),
  );
}

/** Writes changes of locked products, and inserts them into the ledger in their order. */
async function recordAdjustments(tx: Tx, recorded: readonly RecordedAdjustment[]): Promise<void> {
  if (recorded.length === 0) return;
  const column = (value: (entry: RecordedAdjustment) => string) => recorded.map(value);
  await tx.query(sql`
    with line as materialized (
      select * from unnest(
        ${column(({ productId }) => productId)}::uuid[], ${column(({ delta }) => delta.toString())}::bigint[],
        ${column(({ reason }) => reason)}::text[], ${column(({ effectiveAt }) => effectiveAt.toISOString())}::timestamptz[],
        ${column(({ createdAt }) => createdAt.toISOString())}::timestamptz[]
      ) with ordinality as line (product_id, delta, reason, effective_at, created_at, position)
    ), stock as (
      update inventory set on_hand = on_hand + delta, version = version + changes
      from (select product_id as id, sum(delta) as delta, count(*) as changes from line group by product_id) as change
      where product_id = id
    )
    insert into stock_movement (product_id, on_hand_delta, reason, effective_at, created_at)
    select product_id, delta, reason, effective_at, created_at from line order by position`);
}
