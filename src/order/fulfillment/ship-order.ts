import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, assertEtag } from "../../kernel/errors.ts";
import { actorOf, readActor } from "../change/actor.ts";
import { applyChanges, nextSequence, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { storedUnits } from "../change/event-details.ts";
import {
  assertDistinctItems,
  type ItemQuantity,
  openUnits,
  selectUnits,
  withUnits,
} from "../change/item-units.ts";
import { lockOrder } from "../change/lock-orders.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { type Fulfillment, fulfillmentStateOf, readFulfillments, type Tracking } from "./fulfillment.ts";

/** A request to ship units of an order. */
export interface Shipment extends Tracking {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  /** Empty for all units that are neither shipped nor cancelled. */
  items: readonly ItemQuantity[];
}

/** An order after a shipment or its correction, and the fulfillment. */
export interface ShippedOrder {
  order: Order;
  fulfillment: Fulfillment;
}

/** Maximum number of fulfillments of an order, as in the contract. */
const MAX_FULFILLMENTS = 100;

const INSERT = prepare<
  [
    id: string,
    orderId: string,
    carrier: string,
    trackingNumber: string,
    trackingUri: string,
    createdAt: Date,
    actor: string,
    positions: readonly string[],
    quantities: readonly string[],
  ],
  object
>(
  (id, orderId, carrier, trackingNumber, trackingUri, createdAt, actor, positions, quantities) => sql`
    with fulfillment as (
      insert into fulfillment (id, order_id, carrier, tracking_number, tracking_uri, created_at, shipped_by)
      values (${id}, ${orderId}, ${carrier}, ${trackingNumber}, ${trackingUri}, ${createdAt}, ${actor})
      returning id
    )
    insert into fulfillment_item (fulfillment_id, position, quantity)
    select id, position, quantity
    from fulfillment, unnest(${positions}::smallint[], ${quantities}::bigint[]) as item (position, quantity)`,
);

/**
 * Ships units of an order: creates a fulfillment, and removes the units from the stock on hand. Of an order that is
 * authorized, what is due is captured.
 * @throws AppError not_found for an unknown order or item; aborted for a stale etag; invalid_argument for an item that is
 *   named twice; failed_precondition when the state forbids it, no money of an authorized order can be captured, fewer units
 *   are left or the order has the maximum number of fulfillments
 */
export async function shipOrder(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, items, ...tracking }: Shipment,
): Promise<ShippedOrder> {
  const { inventory, clock, ids, payments } = options;
  assertDistinctItems(items);
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "SHIP");
  await payments.assertCapturable(tx, order, clock.now());
  const units = items.length === 0 ? openUnits(order) : selectUnits(order, items, "open");
  assertFewFulfillments(id, await readFulfillments(tx, id));
  const levels = await inventory.lock(
    tx,
    units.map(({ item }) => item.productId),
  );
  const now = timeOfChange(clock, order);
  const lines = units.map(({ item: { productId }, quantity }) => ({
    orderId: id,
    productId,
    quantity,
    sequence: nextSequence(order),
  }));
  // The units that can be ordered stay the same, so that nothing of the catalogue changes.
  await inventory.moveForOrders(tx, "SHIP", lines, levels, now);
  const actor = actorOf(call.principal, order.customerId);
  const fulfillment: Fulfillment = {
    id: ids(),
    orderId: id,
    items: units.map(({ item, quantity }) => ({ itemId: item.id, quantity })),
    ...tracking,
    etag: "1",
    createTime: now,
    shippedBy: readActor(actor, true),
    deliverTime: undefined,
    deliveredBy: readActor(null, true),
  };
  await insertFulfillment(tx, fulfillment, actor);
  const shipped = withUnits(order.items, units, "fulfilledQuantity");
  const set = { items: shipped, fulfillmentState: fulfillmentStateOf(shipped, false) };
  const details = { items: storedUnits(units), fulfillmentId: fulfillment.id, ...tracking };
  const [after = order] = await applyChanges(tx, call, [{ order, transition: "SHIP", set, details, now }]);
  await payments.requestCapture(tx, after, now);
  return { order: after, fulfillment };
}

async function insertFulfillment(
  tx: Tx,
  { id, orderId, items, ...fulfillment }: Fulfillment,
  actor: string,
): Promise<void> {
  const { carrier, trackingNumber, trackingUri, createTime } = fulfillment;
  const positions = items.map(({ itemId }) => itemId);
  const quantities = items.map(({ quantity }) => quantity.toString());
  await tx.query(
    INSERT(id, orderId, carrier, trackingNumber, trackingUri, createTime, actor, positions, quantities),
  );
}

function assertFewFulfillments(orderId: string, fulfillments: readonly Fulfillment[]): void {
  if (fulfillments.length < MAX_FULFILLMENTS) return;
  const description = `the order has ${MAX_FULFILLMENTS} fulfillments, the maximum`;
  throw new AppError(
    "failed_precondition",
    `Nothing was shipped: ${description}. Cancel the remaining units, and place another order for them.`,
    {
      reason: "FULFILLMENT_LIMIT_REACHED",
      preconditions: [{ type: "FULFILLMENTS", subject: `orders/${orderId}`, description }],
    },
  );
}
