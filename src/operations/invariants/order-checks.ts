import type { Check } from "./check.ts";

/** Checks of orders, their items and their purchases. */
export const orderChecks: readonly Check[] = [
  {
    name: "order-totals",
    invariant: "I2",
    description: "The total of an order is the sum of its items, and quantities and prices are in range.",
    query: `
      with item as (
        select order_id, sum(unit_minor * quantity) as items_minor,
          min(quantity) as min_quantity, min(unit_minor) as min_unit_minor
        from order_item group by order_id
      )
      select 'orders/' || id as resource, total_minor, items_minor, min_quantity, min_unit_minor
      from orders join item on order_id = id
      where total_minor <> items_minor or total_minor < 0 or min_quantity < 1 or min_unit_minor < 0`,
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
    name: "order-states",
    invariant: "I7",
    description: "The state of an order can be reached from its creation, and it has not changed before it.",
    query: `
      select 'orders/' || id as resource, state, version, created_at, updated_at
      from orders
      where case state when 'PENDING' then version <> 1 when 'CANCELLED' then version <> 2 else true end
        or updated_at < created_at`,
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
