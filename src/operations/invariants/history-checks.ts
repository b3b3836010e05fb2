import { ledgerEvents, legalSteps, type OrderStates } from "../../order/order.ts";
import type { Check } from "./check.ts";

const STATES = ["payment_state", "fulfillment_state", "closing"] as const;

const valuesOf = ({ paymentState, fulfillmentState, closing }: OrderStates): string =>
  `'${paymentState}', '${fulfillmentState}', '${closing}'`;

/** The rows of the state table: the type of an event with the states before and after it. */
const LEGAL_STEPS = legalSteps()
  .map(({ event, from, to }) => `('${event}', ${valuesOf(from)}, ${valuesOf(to)})`)
  .join(", ");

/** The events of new entries of the ledger, which can lead from any payment state to any other. */
const LEDGER_EVENTS = ledgerEvents.map((event) => `'${event}'`).join(", ");

/** The payment state of an order when it was placed: there is nothing to pay for one that costs nothing. */
const PLACED_PAYMENT = "case when total_minor = 0 and placed_by is not null then 'PAID' else 'UNPAID' end";

/** The units of events by order, type and item. */
const EVENT_UNITS = `
  event_unit as (
    select order_id, (unit ->> 'id')::smallint as position,
      sum((unit ->> 'quantity')::bigint) filter (where type = 'SHIPPED') as shipped,
      sum((unit ->> 'quantity')::bigint) filter (where type = 'ITEMS_CANCELLED') as cancelled,
      sum((unit ->> 'quantity')::bigint) filter (where type = 'ITEMS_RETURNED') as returned,
      sum((unit ->> 'quantity')::bigint)
        filter (where type = 'ITEMS_RETURNED' and (details ->> 'restocked')::boolean) as restocked
    from order_event, jsonb_array_elements(details -> 'items') as unit
    where type in ('SHIPPED', 'ITEMS_CANCELLED', 'ITEMS_RETURNED')
    group by 1, 2
  )`;

/** Checks of the histories of orders, and of what they say about units and shipments. */
export const historyChecks: readonly Check[] = [
  {
    name: "order-history",
    invariant: "I7",
    description: "Each event of an order follows from the one before it by the state table.",
    query: `
      with legal (type, ${STATES.map((name) => `from_${name}`).join(", ")}, ${STATES.join(", ")}) as (
        values ${LEGAL_STEPS}
      ),
      step as (
        select order_id, sequence, type, order_event.payment_state, order_event.fulfillment_state, order_event.closing,
          lag(order_event.payment_state, 1, ${PLACED_PAYMENT}) over history as from_payment_state,
          lag(order_event.fulfillment_state, 1, 'UNFULFILLED') over history as from_fulfillment_state,
          lag(order_event.closing, 1, 'NONE') over history as from_closing
        from order_event join orders on orders.id = order_id
        window history as (partition by order_id order by sequence)
      )
      select 'orders/' || order_id as resource, sequence, type, from_payment_state, from_fulfillment_state, from_closing,
        payment_state, fulfillment_state, closing
      from step left join legal using (
        type, from_payment_state, from_fulfillment_state, from_closing, payment_state, fulfillment_state, closing
      )
      where legal is null
        and not (type in (${LEDGER_EVENTS}) and from_fulfillment_state = fulfillment_state and from_closing = closing)`,
  },
  {
    name: "order-last-event",
    invariant: "I7",
    description: "The states of an order are those after its last event.",
    query: `
      select 'orders/' || id as resource, orders.payment_state, orders.fulfillment_state, orders.closing,
        last.payment_state as event_payment_state, last.fulfillment_state as event_fulfillment_state,
        last.closing as event_closing
      from orders left join order_event as last on order_id = id and sequence = version
      where (orders.payment_state, orders.fulfillment_state, orders.closing) <> (
        coalesce(last.payment_state, ${PLACED_PAYMENT}), coalesce(last.fulfillment_state, 'UNFULFILLED'),
        coalesce(last.closing, 'NONE')
      )`,
  },
  {
    name: "order-units",
    invariant: "I7",
    description:
      "The shipped, cancelled and returned units of an item are those of its order's events and fulfillments, and a closed order has no open unit.",
    query: `
      with ${EVENT_UNITS},
      fulfilled as (
        select order_id, position, sum(quantity) as units
        from fulfillment join fulfillment_item on fulfillment_id = id group by order_id, position
      )
      select 'orders/' || order_id as resource, position, quantity, cancelled_quantity, fulfilled_quantity,
        returned_quantity, cancelled, shipped, fulfilled.units as units_of_fulfillments, returned, closing
      from order_item join orders on orders.id = order_id
        left join event_unit using (order_id, position) left join fulfilled using (order_id, position)
      where fulfilled_quantity <> coalesce(shipped, 0) or fulfilled_quantity <> coalesce(fulfilled.units, 0)
        or returned_quantity <> coalesce(returned, 0)
        or case when closing in ('NONE', 'EXPIRING') then cancelled_quantity <> coalesce(cancelled, 0)
          else cancelled_quantity <> quantity end`,
  },
  {
    name: "order-fulfillment-state",
    invariant: "I7",
    description: "The fulfillment state of an order is that of its units and of their deliveries.",
    query: `
      with unit as (
        select order_id, sum(quantity - cancelled_quantity) as live, sum(fulfilled_quantity) as fulfilled
        from order_item group by order_id
      ),
      delivery as (
        select order_id, bool_and(delivered_at is not null) as is_delivered from fulfillment group by order_id
      )
      select 'orders/' || id as resource, fulfillment_state, live, fulfilled, is_delivered
      from orders join unit on unit.order_id = id left join delivery on delivery.order_id = id
      where fulfillment_state <> case
        when fulfilled = 0 then 'UNFULFILLED'
        when fulfilled < live then 'PARTIALLY_FULFILLED'
        when is_delivered then 'DELIVERED'
        else 'FULFILLED'
      end`,
  },
  {
    name: "order-shipments",
    invariant: "I1",
    description: "Each shipped unit has left the stock once, and each restocked unit is on hand again once.",
    query: `
      with ${EVENT_UNITS},
      moved as (
        select order_id, product_id, -sum(on_hand_delta) filter (where reason = 'SHIP') as shipped,
          sum(on_hand_delta) filter (where reason = 'ORDER_RETURN') as restocked
        from stock_movement where reason in ('SHIP', 'ORDER_RETURN') group by order_id, product_id
      ),
      item as (
        select order_id, product_id, fulfilled_quantity, restocked
        from order_item left join event_unit using (order_id, position)
      )
      select 'orders/' || order_id as resource, product_id, fulfilled_quantity, moved.shipped as moved_shipped,
        item.restocked, moved.restocked as moved_restocked
      from item full join moved using (order_id, product_id)
      where coalesce(fulfilled_quantity, 0) <> coalesce(moved.shipped, 0)
        or coalesce(item.restocked, 0) <> coalesce(moved.restocked, 0)`,
  },
];
