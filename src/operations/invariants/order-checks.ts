import type { Check } from "./check.ts";

/**
 * Returns the query for the items whose movements differ from those that are due.
 * @param reasons the movements' reasons, as an SQL list
 * @param expected a query for the units that each item of an order must have moved
 * @param isOnce whether one movement must have moved all of them
 */
const orderMovements = (reasons: string, expected: string, isOnce: boolean): string => `
  with expected as (${expected}),
  moved as (
    select order_id, product_id, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved, count(*) as movements
    from stock_movement where reason in (${reasons}) group by order_id, product_id
  )
  select 'orders/' || order_id as resource, product_id, expected.on_hand as expected_on_hand,
    moved.on_hand as moved_on_hand, expected.reserved as expected_reserved, moved.reserved as moved_reserved, movements
  from expected full join moved using (order_id, product_id)
  where (expected.on_hand, expected.reserved) is distinct from (moved.on_hand, moved.reserved)
    ${isOnce ? "or movements <> 1" : ""}`;

/** Checks of orders, their items and their purchases. */
export const orderChecks: readonly Check[] = [
  {
    name: "order-totals",
    invariant: "I2",
    description: "The totals of an order add up, and quantities and prices are in range.",
    query: `
      with item as (
        select order_id, sum(unit_minor * quantity) as items_minor, sum(tax_minor) as items_tax,
          min(quantity) as min_quantity, min(unit_minor) as min_unit_minor
        from order_item group by order_id
      )
      select 'orders/' || id as resource, total_minor, items_minor, discount_minor, shipping_minor, tax_minor, items_tax,
        is_tax_included, shipping_option, min_quantity, min_unit_minor
      from orders join item on order_id = id
      where total_minor <> items_minor + discount_minor + shipping_minor + case when is_tax_included then 0 else tax_minor end
        or tax_minor <> items_tax + coalesce((shipping_option ->> 'tax')::bigint, 0)
        or shipping_minor <> coalesce((shipping_option ->> 'price')::bigint, 0)
        or total_minor < 0 or min_quantity < 1 or min_unit_minor < 0`,
  },
  {
    name: "order-owners",
    invariant: "I4",
    description: "The request_id of a customer's order belongs to the customer.",
    query: `
      select 'orders/' || id as resource, owner, customer_id
      from orders where owner <> customer_id::text`,
  },
  {
    name: "order-requests",
    invariant: "I4",
    description: "An order is the only one of its owner with its request_id.",
    query: `
      select 'requests/' || request_id as resource, owner, count(*) as orders
      from orders group by owner, request_id having count(*) > 1`,
  },
  {
    name: "order-items",
    invariant: "I6",
    description: "Each order has items.",
    query: `
      select 'orders/' || id as resource, state
      from orders where not exists (select from order_item where order_id = orders.id)`,
  },
  {
    name: "order-movements",
    invariant: "I6",
    description: "Each item of an order has reserved its units once.",
    query: orderMovements(
      "'ORDER'",
      "select order_id, product_id, 0::numeric as on_hand, quantity::numeric as reserved from order_item",
      true,
    ),
  },
  {
    name: "order-restocks",
    invariant: "I7",
    description: "Each cancelled unit of an item has been released once, and no other unit has.",
    query: orderMovements(
      "'CANCEL', 'EXPIRE'",
      `select order_id, product_id, 0::numeric as on_hand, -cancelled_quantity::numeric as reserved
       from order_item where cancelled_quantity > 0`,
      false,
    ),
  },
  {
    name: "order-states",
    invariant: "I7",
    description:
      "The version of an order is the sequence of its last event, and it has not changed before it.",
    query: `
      select 'orders/' || id as resource, state, version, events, last_sequence, created_at, updated_at
      from orders left join (
        select order_id, count(*) as events, max(sequence) as last_sequence from order_event group by order_id
      ) as history on order_id = id
      where version <> 1 + coalesce(events, 0) or version <> coalesce(last_sequence, 1) or updated_at < created_at`,
  },
  {
    name: "order-purchases",
    invariant: "I5",
    description:
      "Each item of an order with a promotion is one sale of it, and one reversal after a cancellation.",
    query: `
      with item as (select order_id, count(*) as items from order_item group by order_id),
      counted as (
        select order_id, count(*) filter (where kind = 'SALE') as sales,
          count(*) filter (where kind = 'REVERSAL') as reversals,
          count(distinct promotion_id) as promotions, min(promotion_id::text) as purchase_promotion_id
        from purchase where order_id is not null group by order_id
      )
      select 'orders/' || id as resource, state, orders.promotion_id, purchase_promotion_id, items, sales, reversals
      from orders join item on item.order_id = id left join counted on counted.order_id = id
      where coalesce(sales, 0) <> (case when orders.promotion_id is null then 0 else items end)
        or coalesce(reversals, 0)
          <> (case when orders.promotion_id is null or state <> 'CANCELLED' then 0 else items end)
        or coalesce(promotions, 0) > 1 or orders.promotion_id::text <> purchase_promotion_id`,
  },
];
