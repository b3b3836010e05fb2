import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { completeOrder } from "../complete-order.ts";
import type { Order, OrderFields, OrderItem } from "../order-types.ts";
import { type AnyTransition, canLead, type OrderEventType, TRANSITIONS } from "../state/transitions.ts";
import { actorOf } from "./actor.ts";
import type { EventDetails } from "./event-details.ts";
import { orderChanges } from "./order-changes.ts";

/** A change of an order that is locked. */
export interface OrderChange {
  /** The order before the change. */
  order: Order;
  transition: AnyTransition;
  /** What changes of the order besides its version and time. */
  set: Partial<
    Pick<
      OrderFields,
      | "paymentState"
      | "fulfillmentState"
      | "closing"
      | "items"
      | "paid"
      | "refunded"
      | "salesRecorded"
      | "expireTime"
    >
  >;
  /** One of the events of the transition. Defaults to the first one. */
  event?: OrderEventType;
  reason?: string;
  details?: EventDetails;
  /** Time of the change, from `timeOfChange`. */
  now: Date;
}

/** Returns the time of a change: the clock of the replica that made the last change may be ahead of this one's. */
export function timeOfChange(clock: Clock, order: Pick<Order, "updateTime">): Date {
  return new Date(Math.max(clock.now().getTime(), order.updateTime.getTime()));
}

/** Returns the sequence of the event that the next change of an order records. */
export function nextSequence({ etag }: Pick<Order, "etag">): number {
  return Number(etag) + 1;
}

/** An order after a change, and the change. */
interface AppliedChange extends OrderChange {
  after: Order;
  /** Who makes it, as the history stores it. */
  actor: string;
}

/** New quantities of an item. */
interface ChangedItem extends OrderItem {
  orderId: string;
}

function eventOf({ transition, event }: OrderChange): OrderEventType {
  const [first, ...others] = TRANSITIONS[transition].events;
  if (event === undefined || event === first) return first;
  if (!others.includes(event)) throw new Error(`${transition} records no event ${event}`);
  return event;
}

const ORDER_COLUMNS: readonly ListColumn<AppliedChange>[] = [
  { name: "id", type: "uuid", value: ({ after }) => after.id },
  { name: "payment_state", type: "text", value: ({ after }) => after.paymentState },
  { name: "fulfillment_state", type: "text", value: ({ after }) => after.fulfillmentState },
  { name: "closing", type: "text", value: ({ after }) => after.closing },
  { name: "paid_minor", type: "bigint", value: ({ after }) => after.paid.minorUnits.toString() },
  { name: "refunded_minor", type: "bigint", value: ({ after }) => after.refunded.minorUnits.toString() },
  { name: "sales_recorded", type: "boolean", value: ({ after }) => after.salesRecorded },
  { name: "sets_expiry", type: "boolean", value: ({ set }) => "expireTime" in set },
  { name: "expires_at", type: "timestamptz", value: ({ set }) => set.expireTime ?? null },
  { name: "sequence", type: "int", value: ({ after }) => Number(after.etag) },
  { name: "type", type: "text", value: eventOf },
  { name: "actor", type: "text", value: ({ actor }) => actor },
  { name: "reason", type: "text", value: ({ reason = "" }) => reason },
  { name: "details", type: "jsonb", value: ({ details = {} }) => JSON.stringify(details) },
  { name: "at", type: "timestamptz", value: ({ now }) => now },
];

const ITEM_COLUMNS: readonly ListColumn<ChangedItem>[] = [
  { name: "order_id", type: "uuid", value: ({ orderId }) => orderId },
  { name: "position", type: "smallint", value: ({ id }) => id },
  { name: "cancelled", type: "bigint", value: ({ cancelledQuantity }) => cancelledQuantity.toString() },
  { name: "fulfilled", type: "bigint", value: ({ fulfilledQuantity }) => fulfilledQuantity.toString() },
  { name: "returned", type: "bigint", value: ({ returnedQuantity }) => returnedQuantity.toString() },
];

const UPDATE = prepareList<object>(
  ORDER_COLUMNS.length + ITEM_COLUMNS.length,
  (arrays) => sql`
    with change as (select * from ${unnest(ORDER_COLUMNS, arrays, "change")}),
    changed_item as (
      update order_item set cancelled_quantity = cancelled, fulfilled_quantity = fulfilled, returned_quantity = returned
      from ${unnest(ITEM_COLUMNS, arrays.slice(ORDER_COLUMNS.length), "item")}
      where order_item.order_id = item.order_id and order_item.position = item.position
    ),
    event as (
      insert into order_event (
        order_id, sequence, type, actor, reason, payment_state, fulfillment_state, closing, details, created_at
      )
      select id, sequence, type, actor, reason, payment_state, fulfillment_state, closing, details, at from change
    )
    update orders set payment_state = change.payment_state, fulfillment_state = change.fulfillment_state,
      closing = change.closing, paid_minor = change.paid_minor,
      refunded_minor = change.refunded_minor, sales_recorded = change.sales_recorded,
      expires_at = case when sets_expiry then change.expires_at else orders.expires_at end,
      version = sequence, updated_at = at
    from change where orders.id = change.id`,
);

/**
 * Writes changes of locked orders: each one increases the version of its order by one, records one event with that
 * sequence and notifies those who watch the order.
 * @returns the orders after the changes
 */
export async function applyChanges(tx: Tx, call: Call, changes: readonly OrderChange[]): Promise<Order[]> {
  const applied = changes.map(
    (change): AppliedChange => ({
      ...change,
      after: orderAfter(change),
      actor: actorOf(call.principal, change.order.customerId),
    }),
  );
  const items = applied.flatMap(({ order, after }) =>
    after.items
      .filter((item, index) => item !== order.items[index])
      .map((item): ChangedItem => ({ ...item, orderId: order.id })),
  );
  await tx.query(UPDATE([...arraysOf(ORDER_COLUMNS, applied), ...arraysOf(ITEM_COLUMNS, items)]));
  const orders = applied.map(({ after }) => after);
  tx.publish(
    orderChanges,
    orders.map(({ id, etag }) => ({ orderId: id, sequence: Number(etag) })),
  );
  return orders;
}

function orderAfter({ order, transition, set, now }: OrderChange): Order {
  const after = completeOrder({ ...order, ...set, etag: String(nextSequence(order)), updateTime: now });
  if (!canLead(transition, order, after)) {
    throw new Error(`${transition} must not lead from ${statesOf(order)} to ${statesOf(after)}`);
  }
  return after;
}

const statesOf = ({ paymentState, fulfillmentState, closing }: Order) =>
  `${paymentState}, ${fulfillmentState}, ${closing}`;
