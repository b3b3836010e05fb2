import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag, invalidField, notFound } from "../../kernel/errors.ts";
import { actorOf } from "../change/actor.ts";
import { applyChanges, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { lockOrder } from "../change/lock-orders.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { type Fulfillment, fulfillmentStateOf, readFulfillments } from "./fulfillment.ts";

/** A request to record a delivery. */
export interface Delivery {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  /** Empty for all fulfillments of the order. */
  fulfillmentId: string;
}

const SET_DELIVERED = prepare<[ids: readonly string[], at: Date, actor: string], object>(
  (ids, at, actor) => sql`
    update fulfillment set delivered_at = ${at}, delivered_by = ${actor}, version = version + 1
    where id = any(${ids}::uuid[])`,
);

/**
 * A repeat that names neither a fulfillment nor a version, and is not known by its request_id, would also deliver what was
 * shipped after the first call.
 * @throws AppError invalid_argument for a delivery of all fulfillments without an etag and a request_id
 */
export function assertRepeatable({ fulfillmentId, etag }: Delivery, requestId: string): void {
  if (fulfillmentId !== "" || etag !== "" || requestId !== "") return;
  throw invalidField(
    "fulfillment_id",
    "is required, or etag or request_id to deliver all fulfillments of the order",
    "FIELD_REQUIRED",
  );
}

/**
 * Records that fulfillments of an order were delivered. An order whose fulfillments are delivered already stays as it is.
 * @throws AppError not_found for an unknown order or fulfillment; aborted for a stale etag; failed_precondition when
 *   nothing is shipped
 */
export async function deliverOrder(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, fulfillmentId }: Delivery,
): Promise<Order> {
  const order = await lockOrder(options, tx, call, id);
  const fulfillments = await readFulfillments(tx, id);
  const named = fulfillments.filter((one) => fulfillmentId === "" || one.id === fulfillmentId);
  const delivered = named.filter(({ deliverTime }) => deliverTime === undefined);
  if (named.length > 0 && delivered.length === 0) return order;
  assertEtag("order", order, etag);
  if (named.length === 0 && fulfillments.length > 0) throw notFound("fulfillment", fulfillmentId);
  assertTransition(order, "DELIVER");
  const now = timeOfChange(options.clock, order);
  await tx.query(
    SET_DELIVERED(
      delivered.map((one) => one.id),
      now,
      actorOf(call.principal, order.customerId),
    ),
  );
  const isDelivered = fulfillments.every((one) => one.deliverTime !== undefined || delivered.includes(one));
  const set = { fulfillmentState: fulfillmentStateOf(order.items, isDelivered) };
  const details = {
    items: sumUnits(delivered),
    fulfillmentId: delivered.length === 1 ? (delivered[0]?.id ?? "") : "",
  };
  const [after = order] = await applyChanges(tx, call, [{ order, transition: "DELIVER", set, details, now }]);
  return after;
}

/** Returns the units of fulfillments by item, as an event stores them. */
function sumUnits(fulfillments: readonly Fulfillment[]): { id: string; quantity: string }[] {
  const units = new Map<string, bigint>();
  for (const { itemId, quantity } of fulfillments.flatMap(({ items }) => items)) {
    units.set(itemId, (units.get(itemId) ?? 0n) + quantity);
  }
  return [...units].map(([id, quantity]) => ({ id, quantity: quantity.toString() }));
}
