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
    name: "order-item-units",
    invariant: "I7",
    description:
      "The cancelled and shipped units of an item are at most its units, and the returned ones at most the shipped ones.",
    query: `
      select 'orders/' || order_id as resource, position, quantity, cancelled_quantity, fulfilled_quantity, returned_quantity
      from order_item
      where cancelled_quantity < 0 or returned_quantity < 0 or returned_quantity > fulfilled_quantity
        or cancelled_quantity + fulfilled_quantity > quantity`,
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
    name: "order-expiries",
    invariant: "I6",
    description: "Each EXPIRING order, and no other one, has a time at which a worker continues its expiry.",
    query: `
      select 'orders/' || coalesce(id, order_id) as resource, closing, attempts, retry_at
      from (select id, closing from orders where closing = 'EXPIRING') as expiring
      full join order_expiry on order_id = id
      where id is null or order_id is null`,
  },
  {
    name: "order-purchases",
    invariant: "I5",
    description:
      "Each item of a paid order with a promotion is one sale of it. Reversals leave the amount of the units that are neither cancelled nor returned, and one of them counts when no unit is left.",
    query: `
      with item as (
        select order_id, product_id, orders.promotion_id, sales_recorded, returned_quantity,
          quantity - cancelled_quantity - returned_quantity as units_left, unit_minor
        from order_item join orders on orders.id = order_id
      ),
      counted as (
        select order_id, product_id, count(*) filter (where kind = 'SALE') as sales,
          count(*) filter (where kind = 'REVERSAL' and counts) as reversals,
          sum(case kind when 'SALE' then amount_minor else -amount_minor end) as minor,
          count(distinct promotion_id) as promotions, min(promotion_id::text) as purchase_promotion_id
        from purchase where order_id is not null group by order_id, product_id
      )
      select 'orders/' || order_id as resource, product_id, item.promotion_id, purchase_promotion_id, sales_recorded,
        units_left, unit_minor, sales, reversals, minor
      from item full join counted using (order_id, product_id)
      where item.units_left is null
        or promotions > 1 or purchase_promotion_id <> item.promotion_id::text
        or (case
          when not sales_recorded or item.promotion_id is null then sales is not null
          when units_left > 0 then (sales, reversals, minor) is distinct from (1, 0, units_left * unit_minor)
          when sales is null then returned_quantity > 0
          else (sales, reversals, minor) <> (1, 1, 0)
        end)`,
  },
  {
    name: "order-holds",
    invariant: "I5",
    description:
      "An open order that is not paid holds one purchase of its promotion with limits for each item with units left. No other order holds any.",
    query: `
      with due as (
        select orders.id as order_id, promotion_id, coalesce(customer_id::text, 'guest:' || orders.id) as user_id,
          count(*) as purchases
        from orders join order_item on order_id = orders.id join promotion on promotion.id = promotion_id
        where not sales_recorded and closing in ('NONE', 'EXPIRING') and cancelled_quantity < quantity
          and (purchase_limit > 0 or purchase_limit_per_user > 0)
        group by orders.id, promotion_id
      )
      select 'orders/' || order_id as resource, due.promotion_id, due.user_id, due.purchases,
        hold.promotion_id as held_promotion_id, hold.user_id as held_user_id, hold.purchases as held_purchases
      from due full join promotion_hold as hold using (order_id)
      where (due.promotion_id, due.user_id, due.purchases) is distinct from (hold.promotion_id, hold.user_id, hold.purchases)`,
  },
  {
    name: "order-sales",
    invariant: "I5",
    description:
      "The items of an order with a promotion are recorded as its sales once the order is paid while it is open.",
    query: `
      select 'orders/' || id as resource, payment_state, closing, promotion_id, sales_recorded
      from orders
      where promotion_id is null and sales_recorded
        or promotion_id is not null and not sales_recorded and payment_state not in ('UNPAID', 'FAILED')
          and closing in ('NONE', 'EXPIRING')`,
  },
];
