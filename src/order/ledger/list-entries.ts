import { sql } from "kysely";
import type { LedgerEntryType } from "../../infra/payment/payment-gateway.ts";
import { type Keyset, keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { assertPresent } from "../../kernel/fields.ts";
import type { Money } from "../../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";

/** The source of an entry. */
export type LedgerSource = "RESPONSE" | "WEBHOOK" | "FETCH" | "STAFF" | "MIGRATION";

/** A fact about the money of an order. */
export interface LedgerEntry {
  id: string;
  /** Empty, like the payment, if the fact names a payment that does not exist. */
  orderId: string;
  paymentId: string;
  gateway: string;
  type: LedgerEntryType;
  reference: string;
  amount: Money;
  /** False if another entry of the same gateway, type and reference has a greater amount, or its payment another currency. */
  counts: boolean;
  source: LedgerSource;
  note: string;
  gatewayTime: Date | undefined;
  createTime: Date;
}

/** A request for a page of entries. */
export interface LedgerEntryListRequest extends PageRequest {
  /** One of these is required. */
  orderId: string;
  paymentId: string;
}

interface EntryRow {
  id: string;
  order_id: string | null;
  payment_id: string | null;
  gateway: string;
  type: LedgerEntryType;
  reference: string;
  amount_minor: string;
  currency: string;
  counts: boolean;
  source: LedgerSource;
  note: string;
  gateway_time: string | null;
  created_at: string;
}

const OLDEST_FIRST: Keyset = { columns: [{ name: "id", type: "uuid" }], descending: false };

/**
 * Returns a page of entries, oldest first.
 * @throws AppError invalid_argument unless an order or a payment is named
 */
export async function listLedgerEntries(
  { db, tokens }: { db: Pick<Database, "read">; tokens: PageTokens },
  call: Call,
  { orderId, paymentId, pageSize, pageToken }: LedgerEntryListRequest,
): Promise<Page<LedgerEntry>> {
  assertPresent({ order_id: orderId || paymentId || undefined });
  const query = { list: "ledger-entries", orderId, paymentId };
  const size = resolvePageSize(pageSize);
  const where = allOf([
    orderId === "" ? undefined : sql`order_id = ${orderId}`,
    paymentId === "" ? undefined : sql`payment_id = ${paymentId}`,
    keysetCondition(OLDEST_FIRST, tokens.readCursor(pageToken, query)),
  ]);
  const statement = sql<EntryRow>`
    select *, not exists (
      select from ledger_entry as other
      where (other.gateway, other.type, other.reference, other.currency)
          = (entry.gateway, entry.type, entry.reference, entry.currency)
        and other.amount_minor > entry.amount_minor
    ) and not exists (
      select from payment where payment.id = entry.payment_id and payment.currency <> entry.currency
    ) as counts
    from ledger_entry as entry where ${where} ${keysetOrder(OLDEST_FIRST)} limit ${size + 1}`;
  const rows = await db.read(call, prepareDynamic(statement));
  return tokens.createPage(rows, size, query, (row) => [row.id], entryFromRow);
}

function entryFromRow(row: EntryRow): LedgerEntry {
  const { id, gateway, type, reference, counts, source, note } = row;
  return {
    id,
    orderId: row.order_id ?? "",
    paymentId: row.payment_id ?? "",
    gateway,
    type,
    reference,
    amount: { currencyCode: row.currency, minorUnits: BigInt(row.amount_minor) },
    counts,
    source,
    note,
    gatewayTime: row.gateway_time === null ? undefined : new Date(row.gateway_time),
    createTime: new Date(row.created_at),
  };
}
