import { randomUUID } from "node:crypto";
import { isUnrepeatable } from "../model/change-order.ts";
import { allowedTransitions, describeOrder } from "../model/model-order.ts";
import type { KnownIds, OrderWrite, Outcome } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import { applyChange, type NaiveContext } from "./apply-naive-change.ts";
import { cancelled, expireTime, prepareChange, shipmentId, unitsOpen } from "./prepare-change.ts";
import { Rejection } from "./rejection.ts";

const TRANSITIONS: Readonly<Record<OrderWrite["method"], string>> = {
  CancelOrder: "CANCEL",
  MarkOrderPaid: "MARK_PAID",
  ShipOrder: "SHIP",
  DeliverOrder: "DELIVER",
  CancelOrderItems: "CANCEL_ITEMS",
  ReturnOrderItems: "RETURN_ITEMS",
  SetOrderExpireTime: "SET_EXPIRE_TIME",
};

/** The outcome of a change, and the id of the shipment that it created. */
export interface NaiveResult {
  outcome: Outcome;
  createdId?: string;
}

/** Makes a change of an order. */
export async function changeOrder(
  context: NaiveContext,
  operation: OrderWrite,
  ids: KnownIds,
): Promise<NaiveResult> {
  const { flaw } = context;
  if (isUnrepeatable(operation)) throw new Rejection("InvalidArgument", "FIELD_REQUIRED");
  const order = await lockOrder(context, ids.orders.get(operation.order) ?? "");
  const isUnchecked =
    flaw === "a cancellation does not check the state" && operation.method === "CancelOrder";
  if (!isUnchecked && (await isRepeated(context, order, operation, ids)))
    return { outcome: describeOrder(order) };
  const isStale = operation.etag !== undefined && operation.etag !== order.version;
  if (isStale && flaw !== "a change does not check the etag") throw new Rejection("Aborted", "STALE_ETAG");
  const isAllowed = allowedTransitions(order).includes(TRANSITIONS[operation.method]);
  if (!isAllowed && !isUnchecked) throw new Rejection("FailedPrecondition", "ORDER_STATE");
  const createdId = randomUUID();
  await applyChange(context, order, await prepareChange(context, order, operation, ids, createdId));
  const outcome = describeOrder(await context.statements.readOrder(order.id));
  return operation.method === "ShipOrder" ? { outcome, createdId } : { outcome };
}

async function lockOrder({ statements }: NaiveContext, id: string): Promise<StoredOrder> {
  await statements.query("select from orders where id = $1 for update", [id]);
  return statements.readOrder(id);
}

async function isRepeated(
  { statements, fixture }: NaiveContext,
  order: StoredOrder,
  operation: OrderWrite,
  ids: KnownIds,
): Promise<boolean> {
  if (operation.method === "CancelOrder") return order.closing === "CANCELLED";
  if (operation.method === "DeliverOrder") {
    const [named] = await statements.query<{ all: boolean | null }>(
      `select bool_and(delivered_at is not null) as all from fulfillment
       where order_id = $1 and ($2::uuid is null or id = $2)`,
      [order.id, shipmentId(operation.shipment, ids)],
    );
    return named?.all === true;
  }
  if (operation.method !== "SetOrderExpireTime") return false;
  if (!allowedTransitions(order).includes("SET_EXPIRE_TIME")) return false;
  const [found] = await statements.query<{ same: boolean }>(
    "select expires_at is not distinct from $2::timestamptz as same from orders where id = $1",
    [order.id, expireTime(fixture, operation.time)],
  );
  return found?.same === true;
}

/** Begins the expiry of orders that are due. */
export async function startExpiries(context: NaiveContext): Promise<void> {
  const { statements, flaw } = context;
  const isUnpaid =
    flaw === "an expiry does not check the payment" ? "true" : "payment_state in ('UNPAID', 'FAILED')";
  const due = await statements.query<{ id: string }>(
    `select id from orders where expires_at <= now() and closing = 'NONE' and fulfillment_state = 'UNFULFILLED'
       and ${isUnpaid} order by id for update`,
  );
  for (const { id } of due) {
    const order = await statements.readOrder(id);
    await applyChange(context, order, { event: "EXPIRY_STARTED", closing: "EXPIRING" });
  }
}

/** Completes the expiries that have begun. */
export async function completeExpiries(context: NaiveContext): Promise<void> {
  const { statements } = context;
  const begun = await statements.query<{ id: string }>(
    "select id from orders where closing = 'EXPIRING' order by id for update",
  );
  for (const { id } of begun) {
    const order = await statements.readOrder(id);
    const moved = cancelled(unitsOpen(order), "EXPIRE");
    await applyChange(context, order, { event: "EXPIRED", closing: "EXPIRED", moved });
  }
}
