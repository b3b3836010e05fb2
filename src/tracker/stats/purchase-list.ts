import { sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { type Purchase, type PurchaseRow, purchaseFromRow } from "../ingestion/purchase-row.ts";
import { type PurchaseFilter, purchaseConditions } from "./purchase-filter.ts";

/** A request for a page of purchases. */
export interface PurchaseListRequest extends PageRequest, PurchaseFilter {
  /** Empty for all users. */
  userId: string;
}

const NEWEST_PURCHASE_FIRST: Keyset = {
  columns: [
    { name: "purchased_at", type: "timestamptz" },
    { name: "event_id", type: "uuid" },
  ],
  descending: true,
};

/** Returns a page of purchases, newest first. */
export async function listPurchases(
  { db, tokens }: { db: Database; tokens: PageTokens },
  call: Call,
  { promotionId, productId, userId, pageSize, pageToken }: PurchaseListRequest,
): Promise<Page<Purchase>> {
  const query = { list: "purchases", promotionId, productId, userId };
  const size = resolvePageSize(pageSize);
  const where = allOf([
    ...purchaseConditions({ promotionId, productId }),
    userId === "" ? undefined : sql`user_id = ${userId}`,
    keysetCondition(NEWEST_PURCHASE_FIRST, tokens.readCursor(pageToken, query)),
  ]);
  const statement = sql<PurchaseRow>`
    select * from purchase where ${where} ${keysetOrder(NEWEST_PURCHASE_FIRST)} limit ${size + 1}`;
  const rows = await db.read(call, prepareDynamic(statement));
  return tokens.createPage(rows, size, query, (row) => [row.purchased_at, row.event_id], purchaseFromRow);
}
