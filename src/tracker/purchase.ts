import { sql } from "kysely";
import type { Tx } from "../infra/postgres/postgres.ts";
import {
  isNumberOutOfRange,
  missingKeyValue,
  violatesConstraint,
} from "../infra/postgres/postgres-errors.ts";
import { MAX_CLOCK_SKEW_MS } from "../kernel/clock.ts";
import { AppError, invalidField, notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import { lockPromotions, notRunning, type Promotion } from "./promotion.ts";

/** A purchase, or the undoing of one. */
export type PurchaseKind = "SALE" | "REVERSAL";

/** A purchase that was made: a fact, written once. */
export interface Purchase {
  eventId: string;
  userId: string;
  promotionId: string;
  productId: string;
  /** Empty when it came from no order. */
  orderId: string;
  kind: PurchaseKind;
  amount: Money;
  clientAddress: string;
  purchaseTime: Date;
  createTime: Date;
}

/** A purchase to be written down. Without a time it was made now. */
export type NewPurchase = Omit<Purchase, "purchaseTime" | "createTime"> & { purchaseTime: Date | undefined };

/** What became of one: written down, or known before. */
export interface RecordedPurchase {
  purchase: Purchase;
  duplicate: boolean;
}

/** A row of the table. */
export interface PurchaseRow {
  event_id: string;
  user_id: string;
  promotion_id: string;
  product_id: string;
  order_id: string | null;
  kind: PurchaseKind;
  currency: string;
  amount_minor: string;
  client_address: string;
  purchased_at: string;
  created_at: string;
}

/** Over how many rows a total is spread, so that few recorders wait for the same one. */
const SHARDS = 8;

/**
 * Writes purchases down and adds them to the totals, in the caller's transaction. An event_id that is known
 * is not counted again, whether it was known before or comes twice here.
 * @param path names one of them in errors, such as `purchases[3]`
 * @throws FAILED_PRECONDITION when a promotion does not run or a limit of it is passed
 */
export async function recordPurchases(
  tx: Tx,
  purchases: readonly NewPurchase[],
  now: Date,
  path: (index: number) => string,
): Promise<RecordedPurchase[]> {
  const promotions = await lockPromotions(
    tx,
    purchases.map((purchase) => purchase.promotionId),
    now,
  );
  const dated = purchases.map((purchase) => ({
    ...purchase,
    purchaseTime: purchase.purchaseTime ?? now,
    createTime: now,
  }));
  const byEvent = new Map(dated.toReversed().map((purchase) => [purchase.eventId, purchase]));
  const fresh = await writePurchases(tx, [...byEvent.values()]);
  const known = await findKnown(
    tx,
    [...byEvent.keys()].filter((eventId) => !fresh.has(eventId)),
  );
  const counted = [...byEvent.values()].filter((purchase) => fresh.has(purchase.eventId));
  await assertLimits(tx, promotions, counted);

  const seen = new Set<string>();
  return dated.map((purchase, index) => {
    const first = fresh.has(purchase.eventId) && !seen.has(purchase.eventId);
    seen.add(purchase.eventId);
    if (first) {
      // Only now, since what was written down before stays so, whatever became of its promotion.
      assertRuns(promotions.get(purchase.promotionId), purchase, now, path(index));
      return { purchase, duplicate: false };
    }
    const before = known.get(purchase.eventId) ?? byEvent.get(purchase.eventId) ?? purchase;
    assertSame(purchases[index] ?? purchase, before, path(index));
    return { purchase: before, duplicate: true };
  });
}

/** Inserts purchases and adds the new ones to the totals. @returns the event_ids that were new */
export async function writePurchases(tx: Tx, purchases: readonly Purchase[]): Promise<Set<string>> {
  const fresh = await insert(tx, purchases);
  await addTotals(
    tx,
    purchases.filter(({ eventId }) => fresh.has(eventId)),
  );
  return fresh;
}

function assertRuns(
  promotion: Promotion | undefined,
  { promotionId, purchaseTime: time }: Purchase,
  now: Date,
  path: string,
): void {
  if (promotion === undefined) throw notFound("promotion", promotionId);
  if (time.getTime() > now.getTime() + MAX_CLOCK_SKEW_MS) {
    throw invalidField(`${path}.purchase_time`, "must not be in the future");
  }
  if (time < promotion.startTime)
    throw notRunning(promotionId, "has not started at the time of the purchase");
  if (promotion.endTime !== undefined && time >= promotion.endTime) {
    throw notRunning(promotionId, "had ended at the time of the purchase");
  }
}

/** Inserts in order of the key, so that two batches with the same events cannot wait for each other in a circle. */
async function insert(tx: Tx, purchases: readonly Purchase[]): Promise<Set<string>> {
  if (purchases.length === 0) return new Set();
  const rows = purchases.toSorted((a, b) => (a.eventId < b.eventId ? -1 : 1));
  const column = <T>(value: (row: Purchase) => T) => rows.map(value);
  try {
    const inserted = await tx.query(sql<{ event_id: string }>`
      insert into purchase (
        event_id, user_id, promotion_id, product_id, order_id, kind,
        currency, amount_minor, client_address, purchased_at, created_at
      )
      select * from unnest(
        ${column((row) => row.eventId)}::uuid[], ${column((row) => row.userId)}::text[],
        ${column((row) => row.promotionId)}::uuid[], ${column((row) => row.productId)}::uuid[],
        ${column((row) => row.orderId || null)}::uuid[], ${column((row) => row.kind)}::text[],
        ${column((row) => row.amount.currencyCode)}::text[],
        ${column((row) => row.amount.minorUnits.toString())}::bigint[],
        ${column((row) => row.clientAddress)}::text[],
        ${column((row) => row.purchaseTime.toISOString())}::timestamptz[],
        ${column((row) => row.createTime.toISOString())}::timestamptz[]
      )
      on conflict (event_id) do nothing
      returning event_id`);
    return new Set(inserted.map((row) => row.event_id));
  } catch (error) {
    if (violatesConstraint(error, "purchase_product_id_fk"))
      throw notFound("product", missingKeyValue(error));
    if (violatesConstraint(error, "purchase_promotion_id_fk"))
      throw notFound("promotion", missingKeyValue(error));
    throw error;
  }
}

async function findKnown(tx: Tx, eventIds: readonly string[]): Promise<Map<string, Purchase>> {
  if (eventIds.length === 0) return new Map();
  const rows = await tx.query(sql<PurchaseRow>`
    select * from purchase where event_id = any(${eventIds}::uuid[])`);
  return new Map(rows.map((row) => [row.event_id, purchaseFromRow(row)]));
}

function assertSame(given: NewPurchase, before: Purchase, path: string): void {
  const same =
    given.userId === before.userId &&
    given.promotionId === before.promotionId &&
    given.productId === before.productId &&
    given.amount.currencyCode === before.amount.currencyCode &&
    given.amount.minorUnits === before.amount.minorUnits &&
    (given.purchaseTime === undefined || given.purchaseTime.getTime() === before.purchaseTime.getTime());
  if (same) return;
  throw invalidField(
    `${path}.event_id`,
    "was used before for another purchase. Make a new UUID for each new purchase.",
    "EVENT_ID_REUSED",
  );
}

/** Adds to the totals in order of their key, for the same reason as above. */
async function addTotals(tx: Tx, purchases: readonly Purchase[]): Promise<void> {
  if (purchases.length === 0) return;
  const column = <T>(value: (row: Purchase) => T) => purchases.map(value);
  const shard = Number.parseInt(purchases[0]?.eventId.slice(-2) ?? "0", 16) % SHARDS;
  const totals = sql`
    insert into purchase_total (
      promotion_id, product_id, currency, shard, sale_count, sale_minor, reversal_count, reversal_minor
    )
    select promotion_id, product_id, currency, ${shard}::smallint,
      count(*) filter (where kind = 'SALE'), coalesce(sum(minor) filter (where kind = 'SALE'), 0),
      count(*) filter (where kind = 'REVERSAL'), coalesce(sum(minor) filter (where kind = 'REVERSAL'), 0)
    from unnest(
      ${column((row) => row.promotionId)}::uuid[], ${column((row) => row.productId)}::uuid[],
      ${column((row) => row.amount.currencyCode)}::text[], ${column((row) => row.kind)}::text[],
      ${column((row) => row.amount.minorUnits.toString())}::bigint[]
    ) as item (promotion_id, product_id, currency, kind, minor)
    group by promotion_id, product_id, currency
    order by promotion_id, product_id, currency
    on conflict (promotion_id, product_id, currency, shard) do update set
      sale_count = purchase_total.sale_count + excluded.sale_count,
      sale_minor = purchase_total.sale_minor + excluded.sale_minor,
      reversal_count = purchase_total.reversal_count + excluded.reversal_count,
      reversal_minor = purchase_total.reversal_minor + excluded.reversal_minor`;
  await tx.query(totals).catch((error: unknown) => {
    throw isNumberOutOfRange(error) ? totalTooLarge() : error;
  });
}

/** The amounts of a total that add up to more than an int64 holds. */
export function totalTooLarge(): AppError {
  const description = "the amounts add up to more than 2^63 minor units";
  return new AppError("failed_precondition", `The total would be too large: ${description}.`, {
    reason: "TOTAL_TOO_LARGE",
    preconditions: [{ type: "TOTAL", subject: "purchases", description }],
  });
}

/** Counts after the fact, under the lock of the promotion: what passes a limit is rolled back. */
async function assertLimits(
  tx: Tx,
  promotions: ReadonlyMap<string, Promotion>,
  counted: readonly Purchase[],
): Promise<void> {
  for (const promotion of promotions.values()) {
    const sales = counted.filter((row) => row.promotionId === promotion.id && row.kind === "SALE");
    if (sales.length === 0) continue;
    if (promotion.purchaseLimit > 0n) {
      const [row] = await tx.query(sql<{ count: string }>`
        select sum(sale_count - reversal_count) as count from purchase_total where promotion_id = ${promotion.id}`);
      if (BigInt(row?.count ?? 0) > promotion.purchaseLimit) {
        throw limitReached(promotion.id, `its ${promotion.purchaseLimit} purchases are used up`);
      }
    }
    if (promotion.purchaseLimitPerUser > 0n) {
      const users = [...new Set(sales.map((sale) => sale.userId))];
      const [over] = await tx.query(sql<{ user_id: string }>`
        select user_id from purchase
        where promotion_id = ${promotion.id} and user_id = any(${users}::text[])
        group by user_id
        having count(*) filter (where kind = 'SALE') - count(*) filter (where kind = 'REVERSAL')
          > ${promotion.purchaseLimitPerUser}::bigint
        limit 1`);
      if (over !== undefined) {
        const description = `user ${over.user_id} has used up the ${promotion.purchaseLimitPerUser} purchases of a user`;
        throw limitReached(promotion.id, description);
      }
    }
  }
}

function limitReached(promotionId: string, description: string): AppError {
  return new AppError("failed_precondition", `The limit is reached: ${description}. Nothing was recorded.`, {
    reason: "PURCHASE_LIMIT_REACHED",
    preconditions: [{ type: "PURCHASE_LIMIT", subject: `promotions/${promotionId}`, description }],
  });
}

/** The purchase of a row. */
export function purchaseFromRow(row: PurchaseRow): Purchase {
  return {
    eventId: row.event_id,
    userId: row.user_id,
    promotionId: row.promotion_id,
    productId: row.product_id,
    orderId: row.order_id ?? "",
    kind: row.kind,
    amount: { currencyCode: row.currency, minorUnits: BigInt(row.amount_minor) },
    clientAddress: row.client_address,
    purchaseTime: new Date(row.purchased_at),
    createTime: new Date(row.created_at),
  };
}
