import { sql } from "kysely";
import type { Database } from "../infra/postgres/postgres.ts";
import { prepare } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import { notFound } from "../kernel/errors.ts";
import type { Money } from "../kernel/money.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { type Actor, readActor } from "./change/actor.ts";
import type { EventDetails, PaymentMethod } from "./change/event-details.ts";
import type { OrderAccess } from "./guest/order-access.ts";
import { type OrderState, type OrderStates, overallState } from "./state/order-state.ts";
import type { OrderEventType } from "./state/transitions.ts";

/** One change of an order. */
export interface OrderEvent extends OrderStates, Actor {
  /** Position in the history of the order, from 1 without gaps. */
  sequence: number;
  type: OrderEventType;
  reason: string;
  state: OrderState;
  items: { itemId: string; quantity: bigint }[];
  restocked: boolean;
  fulfillmentId: string;
  /** Empty if unknown, and for events that neither create nor correct a shipment; so are the next two. */
  carrier: string;
  trackingNumber: string;
  trackingUri: string;
  amount: Money | undefined;
  paymentReference: string;
  paymentMethod: PaymentMethod | undefined;
  expireTime: Date | undefined;
  createTime: Date;
  /** Empty for an event that is about no payment. */
  paymentId: string;
  /** Empty for an event that is about no refund. */
  refundId: string;
}

/** A request for a page of an order's history. */
export interface OrderEventListRequest extends PageRequest {
  id: string;
  /** Only events with a higher sequence. */
  afterSequence: number;
}

/** An event as `EVENTS_OF` returns it. */
export interface OrderEventRow {
  order_id: string;
  sequence: number;
  type: OrderEventType;
  actor: string | null;
  reason: string;
  payment_state: OrderStates["paymentState"];
  fulfillment_state: OrderStates["fulfillmentState"];
  closing: OrderStates["closing"];
  details: EventDetails;
  currency: string;
  created_at: string;
}

/** Selects the events of `orders`, an alias of the statement around it. The first one is the order itself. */
export const EVENTS_OF_ORDER = sql`(
  select orders.id as order_id, 1 as sequence, 'PLACED' as type, placed_by as actor, '' as reason,
    case when total_minor = 0 and placed_by is not null then 'PAID' else 'UNPAID' end as payment_state,
    'UNFULFILLED' as fulfillment_state, 'NONE' as closing, '{}'::jsonb as details, currency, orders.created_at
  union all
  select order_id, sequence, type, actor, reason, order_event.payment_state, order_event.fulfillment_state,
    order_event.closing, details, currency, order_event.created_at
  from order_event where order_id = orders.id
)`;

const FIND = prepare<[id: string, owner: string | null, after: number, limit: number], OrderEventRow>(
  (id, owner, after, limit) => sql`
    select event.* from orders left join lateral ${EVENTS_OF_ORDER} as event on event.sequence > ${after}
    where orders.id = ${id} and (${owner}::uuid is null or customer_id = ${owner})
    order by event.sequence limit ${limit}`,
);

/** Dependencies of listing events. */
export interface EventListOptions {
  db: Pick<Database, "read">;
  tokens: PageTokens;
  orderAccess: OrderAccess;
}

/**
 * Returns a page of an order's history, oldest event first.
 * @throws AppError not_found, also for another customer's order
 */
export async function listOrderEvents(
  { db, tokens, orderAccess }: EventListOptions,
  call: Call,
  { id, afterSequence, pageSize, pageToken }: OrderEventListRequest,
): Promise<Page<OrderEvent>> {
  const { customerId, isStaff } = orderAccess(call, id);
  const query = { list: "order-events", id, afterSequence };
  const [cursor = afterSequence] = tokens.readCursor(pageToken, query) ?? [];
  const size = resolvePageSize(pageSize);
  const rows = await db.read(call, FIND(id, customerId, Number(cursor), size + 1));
  if (rows.length === 0) throw notFound("order", id);
  // An order without events after the sequence is one row of nulls.
  const events = rows.filter(({ sequence }) => sequence !== null);
  return tokens.createPage(
    events,
    size,
    query,
    ({ sequence }) => [String(sequence)],
    (row) => eventFromRow(row, isStaff),
  );
}

/**
 * Returns the event of a row.
 * @param isForStaff whether it names accounts and shows references of payments
 */
export function eventFromRow(row: OrderEventRow, isForStaff: boolean): OrderEvent {
  const { details } = row;
  const states = {
    paymentState: row.payment_state,
    fulfillmentState: row.fulfillment_state,
    closing: row.closing,
  };
  return {
    ...states,
    state: overallState(states),
    sequence: row.sequence,
    type: row.type,
    ...readActor(row.actor, isForStaff),
    reason: row.reason,
    items: (details.items ?? []).map(({ id, quantity }) => ({ itemId: id, quantity: BigInt(quantity) })),
    restocked: details.restocked ?? false,
    fulfillmentId: details.fulfillmentId ?? "",
    carrier: details.carrier ?? "",
    trackingNumber: details.trackingNumber ?? "",
    trackingUri: details.trackingUri ?? "",
    amount:
      details.amount === undefined
        ? undefined
        : { currencyCode: row.currency, minorUnits: BigInt(details.amount) },
    paymentReference: isForStaff ? (details.reference ?? "") : "",
    paymentMethod: details.method,
    expireTime: details.expireTime === undefined ? undefined : new Date(details.expireTime),
    createTime: new Date(row.created_at),
    paymentId: details.paymentId ?? "",
    refundId: details.refundId ?? "",
  };
}
