import { sql } from "kysely";
import { keysetCondition, keysetOrder, NEWEST_ID_FIRST } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { ownerScope, permissionDenied } from "../../kernel/principal.ts";
import type { OrderAccess, OrderScope } from "../guest/order-access.ts";
import { type Payment, type PaymentRow, paymentFromRow, SELECT_PAYMENT } from "./payment-row.ts";

/** Why a payment needs a person. */
export type PaymentAttention = "IN_DOUBT" | "REQUEST_FAILED" | "AUTHORIZATION_ENDS";

/** A request for a page of payments. */
export interface PaymentListRequest extends PageRequest {
  /** Empty for those of all orders, which only staff and services may list. */
  orderId: string;
  /** Undefined for all payments. */
  attention: PaymentAttention | undefined;
}

/** A payment, and whether its caller may read what only staff and services may. */
export interface ReadPayment extends Payment {
  isForStaff: boolean;
}

/** Dependencies of reading payments. */
export interface PaymentReads {
  db: Pick<Database, "read">;
  tokens: PageTokens;
  orderAccess: OrderAccess;
}

const FIND = prepare<[id: string], PaymentRow & { customer_id: string | null }>(
  (id) => sql`
    select found.*, customer_id from (${SELECT_PAYMENT} where payment.id = ${id}) as found
    join orders on orders.id = found.order_id`,
);
const FIND_ORDER = prepare<[id: string, owner: string | null], object>(
  (id, owner) =>
    sql`select from orders where id = ${id} and (${owner}::uuid is null or customer_id = ${owner})`,
);
const ATTENTION: Readonly<Record<PaymentAttention, ReturnType<typeof sql>>> = {
  IN_DOUBT: sql`check_reason = 'DOUBT'`,
  REQUEST_FAILED: sql`payment.id in (select payment_id from payment_request where state in ('FAILED', 'DEAD'))`,
  AUTHORIZATION_ENDS: sql`payment.state = 'AUTHORIZED' and capture_before < now() + interval '24 hours'`,
};

/**
 * Returns a payment.
 * @throws AppError not_found, also for that of another customer's order
 */
export async function getPayment(reads: PaymentReads, call: Call, id: string): Promise<ReadPayment> {
  const { row, scope } = await findAccessible(reads, call, id);
  return { ...paymentFromRow(row), isForStaff: scope.isStaff };
}

/** A payment, and the caller's access to its order. */
export interface AccessiblePayment {
  row: PaymentRow;
  scope: OrderScope;
}

/** Returns a payment that the caller has access to. @throws AppError not_found, also for that of another customer's order */
export async function findAccessible(
  { db, orderAccess }: Pick<PaymentReads, "db" | "orderAccess">,
  call: Call,
  id: string,
): Promise<AccessiblePayment> {
  const [row] = await db.read(call, FIND(id));
  if (row === undefined) throw notFound("payment", id);
  const scope = accessOf(orderAccess, call, row.order_id, () => notFound("payment", id));
  if (scope.customerId !== null && scope.customerId !== row.customer_id) throw notFound("payment", id);
  return { row, scope };
}

/** Returns the access to the order of a payment. The errors of orders would name an order that the caller did not. */
function accessOf(orderAccess: OrderAccess, call: Call, orderId: string, absent: () => AppError) {
  try {
    return orderAccess(call, orderId);
  } catch (error) {
    throw error instanceof AppError && error.code === "not_found" ? absent() : error;
  }
}

/**
 * Returns a page of payments, newest first.
 * @throws AppError not_found for an unknown order or another customer's; permission_denied when a customer lists those of
 *   all orders
 */
export async function listPayments(
  { db, tokens, orderAccess }: PaymentReads,
  call: Call,
  { orderId, attention, pageSize, pageToken }: PaymentListRequest,
): Promise<Page<ReadPayment>> {
  const isStaff = await assertListable({ db, orderAccess }, call, orderId, attention);
  const query = { list: "payments", orderId, attention };
  const size = resolvePageSize(pageSize);
  const where = allOf([
    orderId === "" ? undefined : sql`order_id = ${orderId}`,
    attention === undefined ? undefined : ATTENTION[attention],
    keysetCondition(NEWEST_ID_FIRST, tokens.readCursor(pageToken, query)),
  ]);
  const statement = sql<PaymentRow>`
    ${SELECT_PAYMENT} where ${where} ${keysetOrder(NEWEST_ID_FIRST)} limit ${size + 1}`;
  const rows = await db.read(call, prepareDynamic(statement));
  return tokens.createPage(
    rows,
    size,
    query,
    (row) => [row.id],
    (row) => ({ ...paymentFromRow(row), isForStaff: isStaff }),
  );
}

/** Returns whether the caller is staff or a service. @throws AppError as `listPayments` does */
async function assertListable(
  { db, orderAccess }: Pick<PaymentReads, "db" | "orderAccess">,
  call: Call,
  orderId: string,
  attention: PaymentAttention | undefined,
): Promise<boolean> {
  if (orderId === "" || attention !== undefined) {
    if (ownerScope(call.principal) === undefined) return true;
    throw permissionDenied(
      "You can only list the payments of one of your orders. Set order_id.",
      "NOT_YOURS",
    );
  }
  const { customerId, isStaff } = orderAccess(call, orderId);
  const found = await db.read(call, FIND_ORDER(orderId, customerId));
  if (found.length === 0) throw notFound("order", orderId);
  return isStaff;
}
