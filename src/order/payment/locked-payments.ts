import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import { notFound } from "../../kernel/errors.ts";
import { readOrders } from "../change/lock-orders.ts";
import type { Order } from "../order-types.ts";
import { type Payment, type PaymentRow, paymentFromRow } from "./payment-row.ts";

/** A payment of a locked order, with what decisions about it depend on. */
export interface LockedPaymentRow extends PaymentRow {
  is_open: boolean;
  request_id: string;
  fingerprint: Buffer | null;
  /** Whether the gateway is being requested to cancel it. */
  is_being_cancelled: boolean;
  /** Whether a capture has no definite response yet. */
  is_being_captured: boolean;
}

/** A locked order and its payments, oldest first. */
export interface LockedPayments {
  order: Order;
  payments: readonly LockedPaymentRow[];
}

const LOCK = prepare<[orderIds: readonly string[]], object>(
  (orderIds) => sql`select from orders where id = any(${orderIds}::uuid[]) order by id for update`,
);
const READ = prepare<[orderIds: readonly string[]], LockedPaymentRow>(
  (orderIds) => sql`
    select payment.*, coalesce(is_being_cancelled, false) as is_being_cancelled,
      coalesce(is_being_captured, false) as is_being_captured, coalesce(has_dead_request, false) as has_dead_request
    from payment left join lateral (
      select bool_or(kind = 'CANCEL' and request.state = 'OPEN') as is_being_cancelled,
        bool_or(kind = 'CAPTURE' and request.state in ('OPEN', 'DEAD')) as is_being_captured,
        bool_or(request.state = 'DEAD') as has_dead_request
      from payment_request as request where request.payment_id = payment.id
    ) as requests on true
    where order_id = any(${orderIds}::uuid[]) order by order_id, id`,
);
const FIND_FREE = prepare<[orderIds: readonly string[]], { id: string }>(
  (orderIds) => sql`select id from orders where id = any(${orderIds}::uuid[]) for update skip locked`,
);
const FIND_EXISTING = prepare<[orderIds: readonly string[]], { id: string }>(
  (orderIds) => sql`select id from orders where id = any(${orderIds}::uuid[])`,
);

/** Locks orders, in the order of their ids, and reads them and their payments in one round trip. Unknown orders are absent. */
export async function lockPayments(
  tx: Tx,
  orderIds: readonly string[],
): Promise<Map<string, LockedPayments>> {
  const ids = [...new Set(orderIds)];
  // The snapshot of each statement is newer than the locks.
  const [, orders, payments] = await tx.pipelined(() =>
    Promise.all([tx.query(LOCK(ids)), readOrders(tx, ids), readPayments(tx, ids)]),
  );
  return new Map(orders.map((order) => [order.id, { order, payments: payments.get(order.id) ?? [] }]));
}

/** Returns the payments of locked orders by order, oldest first. */
export async function readPayments(
  tx: Tx,
  orderIds: readonly string[],
): Promise<Map<string, LockedPaymentRow[]>> {
  return Map.groupBy(await tx.query(READ(orderIds)), (payment) => payment.order_id);
}

/** Returns the ids of orders that another session has locked, without waiting for them. */
export async function findLockedOrders(tx: Tx, orderIds: readonly string[]): Promise<ReadonlySet<string>> {
  const ids = [...new Set(orderIds)];
  const [existing, free] = await tx.pipelined(() =>
    Promise.all([tx.query(FIND_EXISTING(ids)), tx.query(FIND_FREE(ids))]),
  );
  const freeIds = new Set(free.map(({ id }) => id));
  return new Set(existing.map(({ id }) => id).filter((id) => !freeIds.has(id)));
}

/** A payment whose order is locked. */
export interface LockedPayment extends LockedPayments {
  payment: Payment;
  row: LockedPaymentRow;
}

/**
 * Locks the order of a payment, and reads it and its payments.
 * @throws AppError not_found
 */
export async function lockPayment(
  tx: Tx,
  { id, order_id: orderId }: Pick<PaymentRow, "id" | "order_id">,
): Promise<LockedPayment> {
  const locked = (await lockPayments(tx, [orderId])).get(orderId);
  const row = locked?.payments.find((one) => one.id === id);
  if (locked === undefined || row === undefined) throw notFound("payment", id);
  return { ...locked, row, payment: paymentFromRow(row) };
}

/**
 * Returns the payment that keeps another one from being made: one that is open, or whose outcome at the gateway is unknown.
 */
export function findBlocking(
  payments: readonly LockedPaymentRow[],
  exceptId?: string,
): LockedPaymentRow | undefined {
  return payments.find(
    ({ id, is_open: isOpen, check_reason: reason, state }) =>
      id !== exceptId && (isOpen || (reason === "DOUBT" && state !== "CAPTURED" && state !== "CANCELLED")),
  );
}
