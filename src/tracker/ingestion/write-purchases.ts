import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import {
  isNumberOutOfRange,
  missingKeyValue,
  violatesConstraint,
} from "../../infra/postgres/postgres-errors.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import type { Purchase } from "./purchase-row.ts";

/** Number of rows that a total is divided among, so that few concurrent writers wait for the same one. */
const SHARDS = 8;

/**
 * Inserts purchases and adds the new ones to the totals.
 * @param purchases have distinct event_ids
 * @returns the event_ids that were new
 * @throws AppError not_found for an unknown product or promotion; failed_precondition when a total overflows
 */
export async function writePurchases(tx: Tx, purchases: readonly Purchase[]): Promise<Set<string>> {
  if (purchases.length === 0) return new Set();
  const insertedIds = await insertPurchases(tx, purchases);
  const inserted = purchases.filter(({ eventId }) => insertedIds.has(eventId));
  if (inserted.length > 0) await addToTotals(tx, inserted);
  return insertedIds;
}

/** Returns FAILED_PRECONDITION for amounts that add up to more than an int64 holds. */
export function totalTooLarge(): AppError {
  const description = "the amounts add up to more than 2^63 minor units";
  return new AppError("failed_precondition", `The total is too large: ${description}.`, {
    reason: "TOTAL_TOO_LARGE",
    preconditions: [{ type: "TOTAL", subject: "purchases", description }],
  });
}

async function insertPurchases(tx: Tx, purchases: readonly Purchase[]): Promise<Set<string>> {
  // In the order of the key, so that batches with the same events do not deadlock.
  const sorted = purchases.toSorted((a, b) => (a.eventId < b.eventId ? -1 : 1));
  const column = <T>(value: (purchase: Purchase) => T) => sorted.map(value);
  try {
    const rows = await tx.query(sql<{ event_id: string }>`
      insert into purchase (
        event_id, user_id, promotion_id, product_id, order_id, kind,
        currency, amount_minor, counts, client_address, purchased_at, created_at
      )
      select * from unnest(
        ${column((purchase) => purchase.eventId)}::uuid[], ${column((purchase) => purchase.userId)}::text[],
        ${column((purchase) => purchase.promotionId)}::uuid[], ${column((purchase) => purchase.productId)}::uuid[],
        ${column((purchase) => purchase.orderId || null)}::uuid[], ${column((purchase) => purchase.kind)}::text[],
        ${column((purchase) => purchase.amount.currencyCode)}::text[],
        ${column((purchase) => purchase.amount.minorUnits.toString())}::bigint[],
        ${column((purchase) => !purchase.partial)}::boolean[],
        ${column((purchase) => purchase.clientAddress)}::text[],
        ${column((purchase) => purchase.purchaseTime.toISOString())}::timestamptz[],
        ${column((purchase) => purchase.createTime.toISOString())}::timestamptz[]
      )
      on conflict (event_id) do nothing
      returning event_id`);
    return new Set(rows.map((row) => row.event_id));
  } catch (error) {
    if (violatesConstraint(error, "purchase_product_id_fk"))
      throw notFound("product", missingKeyValue(error));
    if (violatesConstraint(error, "purchase_promotion_id_fk")) {
      throw notFound("promotion", missingKeyValue(error));
    }
    throw error;
  }
}

/** Adds in the order of the key, so that concurrent batches do not deadlock. */
async function addToTotals(tx: Tx, purchases: readonly Purchase[]): Promise<void> {
  const column = <T>(value: (purchase: Purchase) => T) => purchases.map(value);
  // The last byte of a UUIDv4 or v7 is random.
  const shard = Number.parseInt(purchases[0]?.eventId.slice(-2) ?? "0", 16) % SHARDS;
  const statement = sql`
    insert into purchase_total (
      promotion_id, product_id, currency, shard, sale_count, sale_minor, reversal_count, reversal_minor
    )
    select promotion_id, product_id, currency, ${shard}::smallint,
      count(*) filter (where kind = 'SALE'), coalesce(sum(minor) filter (where kind = 'SALE'), 0),
      count(*) filter (where kind = 'REVERSAL' and counts), coalesce(sum(minor) filter (where kind = 'REVERSAL'), 0)
    from unnest(
      ${column((purchase) => purchase.promotionId)}::uuid[], ${column((purchase) => purchase.productId)}::uuid[],
      ${column((purchase) => purchase.amount.currencyCode)}::text[], ${column((purchase) => purchase.kind)}::text[],
      ${column((purchase) => purchase.amount.minorUnits.toString())}::bigint[],
      ${column((purchase) => !purchase.partial)}::boolean[]
    ) as item (promotion_id, product_id, currency, kind, minor, counts)
    group by promotion_id, product_id, currency
    order by promotion_id, product_id, currency
    on conflict (promotion_id, product_id, currency, shard) do update set
      sale_count = purchase_total.sale_count + excluded.sale_count,
      sale_minor = purchase_total.sale_minor + excluded.sale_minor,
      reversal_count = purchase_total.reversal_count + excluded.reversal_count,
      reversal_minor = purchase_total.reversal_minor + excluded.reversal_minor`;
  await tx.query(statement).catch((error: unknown) => {
    throw isNumberOutOfRange(error) ? totalTooLarge() : error;
  });
}
