import { sql } from "kysely";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { invalidField, notFound } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { totalTooLarge } from "../ingestion/write-purchases.ts";
import { type PurchaseFilter, purchaseConditions } from "./purchase-filter.ts";

/** A request for statistics of purchases. */
export interface PurchaseStatsRequest extends PurchaseFilter {
  /** Length of the recent period until now, in milliseconds. */
  timeframeMs: number;
  /** Empty when all purchases are in one currency. */
  currencyCode: string;
}

/** Sales minus reversals: all of them, and those of a recent period. */
export interface PurchaseStats {
  totalCount: bigint;
  recentCount: bigint;
  /** Undefined when there are no purchases. */
  totalAmount: Money | undefined;
  /** Undefined when there are no purchases. */
  recentAmount: Money | undefined;
  /** End of the recent period. */
  asOfTime: Date;
}

interface StatsRow {
  currency: string;
  total_count: string;
  total_minor: string;
  recent_count: string;
  recent_minor: string;
}

const findPromotion = prepare<[id: string], object>((id) => sql`select from promotion where id = ${id}`);

/**
 * Returns statistics of purchases. One statement reads totals and recent purchases, so that both are of one snapshot.
 * @throws AppError not_found for an unknown promotion; invalid_argument when the purchases are in several currencies and none is
 *   named; failed_precondition when an amount overflows
 */
export async function readPurchaseStats(
  { db, clock }: { db: Database; clock: Clock },
  call: Call,
  { timeframeMs, currencyCode, ...filter }: PurchaseStatsRequest,
): Promise<PurchaseStats> {
  const asOfTime = clock.now();
  const where = allOf([
    ...purchaseConditions(filter),
    currencyCode === "" ? undefined : sql`currency = ${currencyCode}`,
  ]);
  const recentSince = new Date(asOfTime.getTime() - timeframeMs);
  const statement = sql<StatsRow>`
    with total as (
      select currency, sum(sale_count - reversal_count) as count, sum(sale_minor - reversal_minor) as minor
      from purchase_total where ${where} group by currency
    ), recent as (
      select currency, sum(case when kind = 'SALE' then 1 when counts then -1 else 0 end) as count,
        sum(case kind when 'SALE' then amount_minor else -amount_minor end) as minor
      from purchase where ${where} and purchased_at >= ${recentSince} group by currency
    )
    select currency, total.count as total_count, total.minor as total_minor,
      coalesce(recent.count, 0) as recent_count, coalesce(recent.minor, 0) as recent_minor
    from total left join recent using (currency)`;
  const rows = await db.read(call, prepareDynamic(statement));
  const [row] = rows;
  if (row === undefined) {
    await assertPromotionExists(db, call, filter.promotionId);
    return { totalCount: 0n, recentCount: 0n, totalAmount: undefined, recentAmount: undefined, asOfTime };
  }
  if (rows.length > 1) throw currencyRequired(rows.map(({ currency }) => currency));
  return {
    totalCount: BigInt(row.total_count),
    recentCount: BigInt(row.recent_count),
    totalAmount: toMoney(row.currency, row.total_minor),
    recentAmount: toMoney(row.currency, row.recent_minor),
    asOfTime,
  };
}

/** A promotion without purchases has zero counts; an unknown one is an error. */
async function assertPromotionExists(db: Database, call: Call, id: string): Promise<void> {
  if (id === "") return;
  const found = await db.read(call, findPromotion(id));
  if (found.length === 0) throw notFound("promotion", id);
}

function currencyRequired(currencies: readonly string[]): Error {
  const names = currencies.toSorted().join(", ");
  return invalidField(
    "currency_code",
    `is required, since there are purchases in several currencies: ${names}`,
    "CURRENCY_REQUIRED",
  );
}

function toMoney(currencyCode: string, minor: string): Money {
  const minorUnits = BigInt(minor);
  if (BigInt.asIntN(64, minorUnits) !== minorUnits) throw totalTooLarge();
  return { currencyCode, minorUnits };
}
