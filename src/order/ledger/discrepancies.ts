import { sql } from "kysely";
import { type Keyset, keysetCondition, keysetOrder } from "../../infra/postgres/keyset.ts";
import type { Database, Tx } from "../../infra/postgres/postgres.ts";
import {
  allOf,
  arraysOf,
  type ListColumn,
  prepare,
  prepareDynamic,
  prepareList,
  unnest,
} from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { Money } from "../../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { readOrders } from "../change/lock-orders.ts";
import { resolvedConflict } from "./release/decide-releases.ts";
import { releaseExcess } from "./release/release-excess.ts";
import type { ReleaseOptions } from "./release/write-releases.ts";

/** The kind of a contradiction, as in the contract. */
export type DiscrepancyKind =
  | "AMOUNT_CONFLICT"
  | "CURRENCY_MISMATCH"
  | "UNKNOWN_PAYMENT"
  | "WRONG_PAYMENT"
  | "CAPTURED_MISMATCH"
  | "REFUNDED_MISMATCH"
  | "OVERPAID"
  | "REQUEST_FAILED";

/** A contradiction within the ledger, or between it and a gateway. */
export interface Discrepancy {
  id: string;
  kind: DiscrepancyKind;
  /** Empty if unknown. */
  orderId: string;
  paymentId: string;
  gateway: string;
  reference: string;
  expected: Money | undefined;
  actual: Money | undefined;
  description: string;
  createTime: Date;
  resolveTime: Date | undefined;
  resolution: string;
}

/** A discrepancy that was found now. */
export type NewDiscrepancy = Omit<Discrepancy, "resolveTime" | "resolution">;

/** What a discrepancy is about. */
export type DiscrepancySubject = Pick<Discrepancy, "orderId" | "paymentId" | "gateway" | "reference">;

/** Returns a discrepancy. */
export function newDiscrepancy(
  { ids, now }: { ids: Ids; now: Date },
  kind: DiscrepancyKind,
  { orderId, paymentId, gateway, reference }: DiscrepancySubject,
  details: Pick<Discrepancy, "description"> & Partial<Pick<Discrepancy, "expected" | "actual">>,
): NewDiscrepancy {
  const { description, expected, actual } = details;
  const subject = { orderId, paymentId, gateway, reference };
  return { id: ids(), kind, ...subject, expected, actual, description, createTime: now };
}

/** A request for a page of discrepancies. */
export interface DiscrepancyListRequest extends PageRequest {
  showResolved: boolean;
  /** Empty for those of all orders. */
  orderId: string;
}

interface DiscrepancyRow {
  id: string;
  kind: DiscrepancyKind;
  order_id: string | null;
  payment_id: string | null;
  gateway: string;
  reference: string;
  expected_minor: string | null;
  actual_minor: string | null;
  currency: string | null;
  description: string;
  created_at: string;
  resolved_at: string | null;
  resolution: string;
}

const NEWEST_FIRST: Keyset = {
  columns: [
    { name: "created_at", type: "timestamptz" },
    { name: "id", type: "uuid" },
  ],
  descending: true,
};
const LOCK_ORDER_OF_CONFLICT = prepare<[discrepancyId: string], { id: string }>(
  (discrepancyId) => sql`
    select id from orders
    where id = (select order_id from payment_discrepancy where id = ${discrepancyId} and kind = 'AMOUNT_CONFLICT')
    for update`,
);
// A discrepancy that is resolved already stays as it is.
const RESOLVE = prepare<[id: string, resolution: string, now: Date], DiscrepancyRow>(
  (id, resolution, now) => sql`
    update payment_discrepancy set resolution = case when resolved_at is null then ${resolution} else resolution end,
      resolved_at = coalesce(resolved_at, ${now})
    where id = ${id} returning *`,
);

const COLUMNS: readonly ListColumn<NewDiscrepancy>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "kind", type: "text", value: ({ kind }) => kind },
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId || null },
  { name: "payment_id", type: "uuid", value: ({ paymentId }) => paymentId || null },
  { name: "gateway", type: "text", value: ({ gateway }) => gateway },
  { name: "reference", type: "text", value: ({ reference }) => reference },
  {
    name: "expected_minor",
    type: "bigint",
    value: ({ expected }) => expected?.minorUnits.toString() ?? null,
  },
  { name: "actual_minor", type: "bigint", value: ({ actual }) => actual?.minorUnits.toString() ?? null },
  {
    name: "currency",
    type: "text",
    value: ({ expected, actual }) => (expected ?? actual)?.currencyCode ?? null,
  },
  { name: "description", type: "text", value: ({ description }) => description },
  { name: "created_at", type: "timestamptz", value: ({ createTime }) => createTime },
];
const INSERT = prepareList<{ id: string }>(
  COLUMNS.length,
  (arrays) => sql`
    insert into payment_discrepancy (${sql.join(COLUMNS.map(({ name }) => sql.ref(name)))})
    select * from ${unnest(COLUMNS, arrays, "found")}
    on conflict (kind, gateway, reference) where resolved_at is null do nothing returning id`,
);

/**
 * Stores discrepancies, except those that are known and not resolved. Both amounts of one have the same currency.
 * @returns those that were stored
 */
export async function insertDiscrepancies(
  tx: Tx,
  found: readonly NewDiscrepancy[],
): Promise<NewDiscrepancy[]> {
  if (found.length === 0) return [];
  const rows = await tx.query(INSERT(arraysOf(COLUMNS, found)));
  const ids = new Set(rows.map(({ id }) => id));
  return found.filter(({ id }) => ids.has(id));
}

/** Returns a page of discrepancies, newest first. */
export async function listDiscrepancies(
  { db, tokens }: { db: Pick<Database, "read">; tokens: PageTokens },
  call: Call,
  { showResolved, orderId, pageSize, pageToken }: DiscrepancyListRequest,
): Promise<Page<Discrepancy>> {
  const query = { list: "discrepancies", showResolved, orderId };
  const size = resolvePageSize(pageSize);
  const where = allOf([
    showResolved ? undefined : sql`resolved_at is null`,
    orderId === "" ? undefined : sql`order_id = ${orderId}`,
    keysetCondition(NEWEST_FIRST, tokens.readCursor(pageToken, query)),
  ]);
  const statement = sql<DiscrepancyRow>`
    select * from payment_discrepancy where ${where} ${keysetOrder(NEWEST_FIRST)} limit ${size + 1}`;
  const rows = await db.read(call, prepareDynamic(statement));
  return tokens.createPage(rows, size, query, (row) => [row.created_at, row.id], discrepancyFromRow);
}

/**
 * Records how a discrepancy was resolved, unless it is. With the last conflict about the amount of a payment, the money that
 * its order must not keep is released: the conflict has prevented that.
 * @throws AppError not_found
 */
export async function resolveDiscrepancy(
  options: ReleaseOptions,
  tx: Tx,
  call: Call,
  { id, resolution }: Pick<Discrepancy, "id" | "resolution">,
): Promise<Discrepancy> {
  const orderIds = (await tx.query(LOCK_ORDER_OF_CONFLICT(id))).map((order) => order.id);
  const [row] = await tx.query(RESOLVE(id, resolution, options.clock.now()));
  if (row === undefined) throw notFound("discrepancy", id);
  if (orderIds.length > 0) {
    await releaseExcess(options, tx, call, await readOrders(tx, orderIds), resolvedConflict(id));
  }
  return discrepancyFromRow(row);
}

function discrepancyFromRow(row: DiscrepancyRow): Discrepancy {
  const { id, kind, gateway, reference, description, resolution, currency } = row;
  const money = (minor: string | null): Money | undefined =>
    minor === null || currency === null ? undefined : { currencyCode: currency, minorUnits: BigInt(minor) };
  return {
    id,
    kind,
    orderId: row.order_id ?? "",
    paymentId: row.payment_id ?? "",
    gateway,
    reference,
    expected: money(row.expected_minor),
    actual: money(row.actual_minor),
    description,
    createTime: new Date(row.created_at),
    resolveTime: row.resolved_at === null ? undefined : new Date(row.resolved_at),
    resolution,
  };
}
