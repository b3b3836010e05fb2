import type { Check } from "./check.ts";

/** Returns a common table expression for the sum of an expression over the items of orders, by product. */
const orderedUnits = (units: string): string => `
  ordered as (select product_id, sum(${units}) as units from order_item group by product_id)`;

/** Checks of stock, its movements, and what products show of it. */
export const stockChecks: readonly Check[] = [
  {
    name: "stock-movements",
    invariant: "I1",
    description: "The units on hand and the reserved units of a product are the sums of its movements.",
    query: `
      with moved as (
        select product_id, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved
        from stock_movement group by product_id
      )
      select 'products/' || product.id as resource, inventory.on_hand, moved.on_hand as moved_on_hand,
        inventory.reserved, moved.reserved as moved_reserved
      from product
        left join inventory on inventory.product_id = product.id
        left join moved on moved.product_id = product.id
      where inventory.on_hand is distinct from coalesce(moved.on_hand, 0)
        or inventory.reserved is distinct from coalesce(moved.reserved, 0)`,
  },
  {
    name: "movement-accounts",
    invariant: "I1",
    description:
      "Each movement changes the accounts of its reason: orders reserve units, cancellations and expiries release them, shipments remove them, returns and all other movements change the units on hand.",
    query: `
      select 'products/' || product_id as resource, id, reason, on_hand_delta, reserved_delta
      from stock_movement
      where not case reason
        when 'ORDER' then on_hand_delta = 0 and reserved_delta > 0
        when 'CANCEL' then on_hand_delta = 0 and reserved_delta < 0
        when 'EXPIRE' then on_hand_delta = 0 and reserved_delta < 0
        when 'SHIP' then on_hand_delta < 0 and reserved_delta = on_hand_delta
        when 'ORDER_RETURN' then on_hand_delta > 0 and reserved_delta = 0
        else reserved_delta = 0 end`,
  },
  {
    name: "reserved-units",
    invariant: "I1",
    description:
      "The reserved units of a product are those of its orders that are neither shipped nor cancelled.",
    query: `
      with ${orderedUnits("quantity - cancelled_quantity - fulfilled_quantity")}
      select 'products/' || inventory.product_id as resource, reserved, units as ordered
      from inventory left join ordered on ordered.product_id = inventory.product_id
      where reserved <> coalesce(units, 0)`,
  },
  {
    name: "availability",
    invariant: "I1",
    description: "A product is in stock while units of it are on hand that are not reserved.",
    query: `
      select 'products/' || id as resource, in_stock, on_hand, reserved
      from product join inventory on product_id = id where in_stock <> (on_hand > reserved)`,
  },
  {
    name: "units-sold",
    invariant: "I1",
    description:
      "The units sold of a product, with those of events that are not counted yet, are those of its orders that are neither cancelled nor returned.",
    query: `
      with ${orderedUnits("quantity - cancelled_quantity - returned_quantity")},
      uncounted as (
        select (sale ->> 'productId')::uuid as product_id, sum((sale ->> 'units')::bigint) as units
        from (
          select epoch, xid, id, events from outbox_1
          union all select epoch, xid, id, events from outbox_2
          union all select epoch, xid, id, events from outbox_3
        ) as outbox, jsonb_path_query(events, '$[*] ? (@.topic == "product-sales").data[*]') as sale
        where (epoch, xid, id) > (select epoch, xid, id from outbox_cursor where consumer = 'product-sales')
        group by 1
      )
      select 'products/' || product.id as resource, purchase_count, uncounted.units as uncounted, ordered.units as ordered
      from product
        left join product_sales on product_sales.product_id = product.id
        left join uncounted on uncounted.product_id = product.id
        left join ordered on ordered.product_id = product.id
      where coalesce(purchase_count, 0) + coalesce(uncounted.units, 0) <> coalesce(ordered.units, 0)`,
  },
  {
    name: "popularity",
    invariant: "I1",
    description: "The popularity of a product is that of its units sold, unless it is marked to be updated.",
    query: `
      select 'products/' || id as resource, popularity, purchase_count
      from product left join product_sales on product_id = id
      where popularity <> floor(10 * ln(1 + coalesce(purchase_count, 0)::double precision))
        and popularity_due_at is null`,
  },
  {
    name: "stock-range",
    invariant: "I2",
    description: "The reserved units of a product are on hand, and not negative.",
    query: `
      select 'products/' || product_id as resource, on_hand, reserved
      from inventory where reserved < 0 or on_hand < reserved`,
  },
];
