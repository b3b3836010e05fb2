import { type Database, prepared } from "../infra/postgres/postgres.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { invalidField, notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { type Purchase, type PurchaseRow, purchaseFromRow, totalTooLarge } from "./purchase.ts";

/** Which purchases; empty filters are not applied. */
export interface PurchaseFilter {
  promotionId: string;
  productId: string;
}

/** Sales less reversals, ever and lately, as of one moment. */
export interface PurchaseStats {
  totalCount: bigint;
  recentCount: bigint;
  /** Absent when there are none. */
  totalAmount: Money | undefined;
  recentAmount: Money | undefined;
  asOfTime: Date;
}

interface StatsRow {
  currency: string;
  total_count: string;
  total_minor: string;
  recent_count: string;
  recent_minor: string;
}

/** The reads of purchases. */
export function createPurchaseReads({
  db,
  clock,
  tokens,
}: {
  db: Database;
  clock: Clock;
  tokens: PageTokens;
}) {
  return {
    /** Purchases, newest first. */
    async listPurchases(
      call: Call,
      { pageToken, pageSize: asked, ...filter }: PageRequest & PurchaseFilter & { userId: string },
    ): Promise<Page<Purchase>> {
      const query = { list: "purchases", ...filter };
      const size = resolvePageSize(asked);
      const after = tokens.readCursor(pageToken, query);
      const { tests, values, bind } = filtered(filter);
      if (filter.userId !== "") tests.push(`user_id = ${bind(filter.userId)}`);
      if (after !== undefined) {
        tests.push(`(purchased_at, event_id) < (${bind(after[0])}::timestamptz, ${bind(after[1])}::uuid)`);
      }
      const text = `select * from purchase where ${tests.join(" and ") || "true"}
        order by purchased_at desc, event_id desc limit ${bind(size + 1)}`;
      const rows = await db.read<PurchaseRow>(call, prepared(text), values);
      return tokens.createPage(rows, size, query, (row) => [row.purchased_at, row.event_id], purchaseFromRow);
    },

    /**
     * Totals and recent counts in one statement, and so of one snapshot.
     * @param timeframeMs how long ago still counts as recent, milliseconds
     * @throws NOT_FOUND for an unknown promotion; INVALID_ARGUMENT when the purchases are in several
     *   currencies and none is named
     */
    async stats(
      call: Call,
      {
        timeframeMs,
        currencyCode,
        ...filter
      }: PurchaseFilter & { timeframeMs: number; currencyCode: string },
    ): Promise<PurchaseStats> {
      const asOfTime = clock.now();
      const { tests, values, bind } = filtered(filter);
      if (currencyCode !== "") tests.push(`currency = ${bind(currencyCode)}`);
      const where = tests.join(" and ") || "true";
      const since = bind(new Date(asOfTime.getTime() - timeframeMs));
      const text = `
        with total as (
          select currency, sum(sale_count - reversal_count) as count, sum(sale_minor - reversal_minor) as minor
          from purchase_total where ${where} group by currency
        ), recent as (
          select currency, sum(case kind when 'SALE' then 1 else -1 end) as count,
            sum(case kind when 'SALE' then amount_minor else -amount_minor end) as minor
          from purchase where ${where} and purchased_at >= ${since} group by currency
        )
        select currency, total.count as total_count, total.minor as total_minor,
          coalesce(recent.count, 0) as recent_count, coalesce(recent.minor, 0) as recent_minor
        from total left join recent using (currency)`;
      const rows = await db.read<StatsRow>(call, prepared(text), values);
      const [row] = rows;
      if (row === undefined) {
        await assertPromotion(db, call, filter.promotionId);
        return { totalCount: 0n, recentCount: 0n, totalAmount: undefined, recentAmount: undefined, asOfTime };
      }
      if (rows.length > 1) {
        const names = rows.map(({ currency }) => currency).sort();
        throw invalidField(
          "currency_code",
          `is needed here: name one of ${names.join(", ")}`,
          "CURRENCY_REQUIRED",
        );
      }
      const money = (minor: string): Money => {
        const minorUnits = BigInt(minor);
        if (BigInt.asIntN(64, minorUnits) !== minorUnits) throw totalTooLarge();
        return { currencyCode: row.currency, minorUnits };
      };
      return {
        totalCount: BigInt(row.total_count),
        recentCount: BigInt(row.recent_count),
        totalAmount: money(row.total_minor),
        recentAmount: money(row.recent_minor),
        asOfTime,
      };
    },
  };
}

/** Nothing counted is an answer for a promotion that exists, and a typing error otherwise. */
async function assertPromotion(db: Database, call: Call, id: string): Promise<void> {
  if (id === "") return;
  const found = await db.read(call, { text: "select from promotion where id = $1" }, [id]);
  if (found.length === 0) throw notFound("promotion", id);
}

function filtered({ promotionId, productId }: PurchaseFilter) {
  const values: unknown[] = [];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const tests: string[] = [];
  if (promotionId !== "") tests.push(`promotion_id = ${bind(promotionId)}`);
  if (productId !== "") tests.push(`product_id = ${bind(productId)}`);
  return { tests, values, bind };
}
