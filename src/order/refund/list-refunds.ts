import { type RawBuilder, sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import { prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import type { OrderAccess } from "../guest/order-access.ts";
import type { RefundKind } from "./refund-rows.ts";

/** The state of a refund. */
export type RefundState = "PENDING" | "SUCCEEDED" | "FAILED";

/** A refund of a payment, and how it is divided. */
export interface Refund {
  /** Empty for one that was only computed. */
  id: string;
  orderId: string;
  paymentId: string;
  state: RefundState;
  amount: Money;
  lines: RefundLine[];
  /** With its tax. */
  shippingAmount: Money;
  shippingTax: Money;
  /** Whether the service has made it by itself. */
  automatic: boolean;
  reason: string;
  /** Reference of a refund by hand; empty for readers who are customers or guests, as the failure. */
  reference: string;
  failure: string;
  createTime: Date;
  /** Undefined before it has succeeded or failed. */
  completeTime: Date | undefined;
}

/** The share of an item in a refund. */
export interface RefundLine {
  itemId: string;
  /** 0 for the share of the item in a refund of an amount. */
  quantity: bigint;
  /** With its tax. */
  amount: Money;
  tax: Money;
}

/** A request for a page of an order's refunds. */
export interface RefundListRequest extends PageRequest {
  /** Id of the order. */
  id: string;
}

/** Dependencies of listing refunds. */
export interface RefundListOptions {
  db: Pick<Database, "read">;
  tokens: PageTokens;
  orderAccess: OrderAccess;
}

interface RefundRow {
  id: string;
  order_id: string;
  payment_id: string;
  kind: RefundKind;
  currency: string;
  amount_minor: string;
  shipping_minor: string;
  shipping_tax_minor: string;
  state: RefundState;
  reason: string;
  reference: string | null;
  failure: string | null;
  created_at: string;
  completed_at: string | null;
  lines: { id: string; quantity: string; amount: string; tax: string }[] | null;
}

/** The row of an order without refunds. */
type NoRefundRow = { [Column in keyof RefundRow]: null };

const OLDEST_FIRST: Keyset = { columns: [{ name: "id", type: "uuid" }], descending: false };

/** Selects refunds of an order, oldest first. An order without any is one row of nulls. */
function selectRefunds(
  order: RawBuilder<unknown>,
  refund: RawBuilder<unknown> = sql`true`,
  limit: RawBuilder<unknown> = sql``,
): RawBuilder<RefundRow | NoRefundRow> {
  return sql<RefundRow | NoRefundRow>`
    select one.*, currency, (
      select json_agg(json_build_object(
        'id', position::text, 'quantity', quantity::text, 'amount', amount_minor::text, 'tax', tax_minor::text
      ) order by position) from refund_line where refund_id = one.id
    ) as lines
    from orders left join lateral (
      select * from refund where order_id = orders.id and ${refund} ${keysetOrder(OLDEST_FIRST)} ${limit}
    ) as one on true
    where ${order} order by one.id`;
}

const FIND = prepare<[orderId: string, id: string], RefundRow | NoRefundRow>((orderId, id) =>
  selectRefunds(sql`orders.id = ${orderId}`, sql`refund.id = ${id}`),
);

/**
 * Returns a page of the refunds of an order, oldest first.
 * @throws AppError not_found, also for another customer's order
 */
export async function listRefunds(
  { db, tokens, orderAccess }: RefundListOptions,
  call: Call,
  { id, pageSize, pageToken }: RefundListRequest,
): Promise<Page<Refund>> {
  const { customerId: owner, isStaff } = orderAccess(call, id);
  const query = { list: "refunds", id };
  const size = resolvePageSize(pageSize);
  const statement = selectRefunds(
    sql`orders.id = ${id} and (${owner}::uuid is null or customer_id = ${owner})`,
    keysetCondition(OLDEST_FIRST, tokens.readCursor(pageToken, query)),
    sql`limit ${size + 1}`,
  );
  const rows = await db.read(call, prepareDynamic(statement));
  if (rows.length === 0) throw notFound("order", id);
  return tokens.createPage(
    rows.filter(isRefund),
    size,
    query,
    (row) => [row.id],
    (row) => refundFromRow(row, isStaff),
  );
}

/** Returns a refund of an order as staff see it. @throws Error unless it exists */
export async function readRefund(tx: Tx, orderId: string, id: string): Promise<Refund> {
  const [refund] = (await tx.query(FIND(orderId, id))).filter(isRefund);
  if (refund === undefined) throw new Error(`refund ${id} does not exist`);
  return refundFromRow(refund, true);
}

function isRefund(row: RefundRow | NoRefundRow): row is RefundRow {
  return row.id !== null;
}

function refundFromRow(row: RefundRow, isForStaff: boolean): Refund {
  const money = (minorUnits: string): Money => ({
    currencyCode: row.currency,
    minorUnits: BigInt(minorUnits),
  });
  return {
    id: row.id,
    orderId: row.order_id,
    paymentId: row.payment_id,
    state: row.state,
    amount: money(row.amount_minor),
    lines: (row.lines ?? []).map(({ id, quantity, amount, tax }) => ({
      itemId: id,
      quantity: BigInt(quantity),
      amount: money(amount),
      tax: money(tax),
    })),
    shippingAmount: money(row.shipping_minor),
    shippingTax: money(row.shipping_tax_minor),
    automatic: row.kind === "AUTOMATIC",
    reason: row.reason,
    reference: isForStaff ? (row.reference ?? "") : "",
    failure: isForStaff ? (row.failure ?? "") : "",
    createTime: new Date(row.created_at),
    completeTime: row.completed_at === null ? undefined : new Date(row.completed_at),
  };
}
