import type { TestDatabase } from "../stores/database.ts";

const TABLES: Readonly<Record<string, string>> = {
  category: "*",
  brand: "*",
  product: "*",
  // Without the ids, which depend on the order of insertion.
  inventory: "*",
  product_sales: "*",
  stock_movement:
    "product_id, on_hand_delta, reserved_delta, reason, order_id, order_sequence, effective_at, created_at",
  customer: "*",
  orders: "*",
  order_item: "*",
  order_event: "*",
  payment: "*",
  ledger_entry: "*",
  fulfillment: "*",
  fulfillment_item: "*",
  review: "*",
  promotion: "*",
  purchase: "*",
  purchase_total: "*",
  promotion_hold: "*",
};

/** Returns a digest of all rows of each table. */
export async function digestTables(database: TestDatabase): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [table, columns] of Object.entries(TABLES)) {
    const [row] = await database.query<{ digest: string }>(
      `select count(*) || ' rows ' || md5(string_agg(line, e'\\n' order by line)) as digest
       from (select row::text as line from (select ${columns} from ${table}) as row) as lines`,
    );
    found[table] = row?.digest ?? "";
  }
  return found;
}

/** Returns the numbers of rows of tables, or of other sources of rows. */
export async function countRows(database: TestDatabase, tables: readonly string[]): Promise<number[]> {
  const each = tables.map((table) => `(select count(*)::int from ${table})`);
  const [row] = await database.query<{ counts: number[] }>(`select array[${each.join(", ")}] as counts`);
  return row?.counts ?? [];
}

/** Queries by invariant. They return the rows that violate it. */
const INVARIANT_QUERIES: Readonly<Record<string, string>> = {
  "the stock is not the sum of its movements": `
    select id from product left join inventory on product_id = id left join lateral (
      select coalesce(sum(on_hand_delta), 0) as moved, coalesce(sum(reserved_delta), 0) as moved_reserved
      from stock_movement where stock_movement.product_id = product.id
    ) as movement on true
    where (on_hand, reserved) is distinct from (moved, moved_reserved)`,
  "the availability is not that of the stock": `
    select id from product join inventory on product_id = id where in_stock <> (on_hand > reserved)`,
  "the reserved units are not those of the orders that are neither shipped nor cancelled": `
    select product_id from inventory where reserved <> coalesce(
      (select sum(quantity - cancelled_quantity - fulfilled_quantity) from order_item
       where order_item.product_id = inventory.product_id), 0)`,
  "the units sold are not those of the orders that are neither cancelled nor returned": `
    select id from product left join product_sales on product_id = id where coalesce(purchase_count, 0) <> coalesce(
      (select sum(quantity - cancelled_quantity - returned_quantity) from order_item
       where order_item.product_id = product.id), 0)`,
  "the popularity is not that of the units sold": `
    select id from product left join product_sales on product_id = id
    where popularity <> floor(10 * ln(1 + coalesce(purchase_count, 0)::double precision))`,
  "a rating does not match its reviews": `
    select id from product left join lateral (
      select count(*) as count, coalesce(sum(rating), 0) as sum from review where product_id = product.id
    ) as reviews on true
    where (rating_count, rating_sum) <> (count, sum)
      or abs(rating_average - sum::double precision / greatest(count, 1)) > 1e-9`,
  "a review has an author without a purchase of the product": `
    select id from review where not exists (
      select from orders join order_item on order_id = orders.id
      where customer_id = review.customer_id and product_id = review.product_id
        and state not in ('CANCELLED', 'EXPIRED'))`,
  "a product has two initial movements": `
    select product_id from stock_movement where reason = 'INITIAL' group by 1 having count(*) > 1`,
  "an order has no items": "select id from orders where id not in (select order_id from order_item)",
  "a total is not the sum of its items": `
    select id from orders where total_minor <> (
      select sum(unit_minor * quantity) from order_item where order_id = orders.id)`,
  "an item has no movement": `
    select order_id from order_item where quantity is distinct from (
      select reserved_delta from stock_movement
      where order_id = order_item.order_id and product_id = order_item.product_id and reason = 'ORDER')`,
  "the movements of an item are not those of its cancelled, shipped and returned units": `
    select order_id from order_item
    where (cancelled_quantity, fulfilled_quantity, returned_quantity) <> (
      select coalesce(-sum(reserved_delta) filter (where reason in ('CANCEL', 'EXPIRE')), 0),
        coalesce(-sum(reserved_delta) filter (where reason = 'SHIP'), 0),
        coalesce(sum(on_hand_delta) filter (where reason = 'ORDER_RETURN'), 0)
      from stock_movement
      where order_id = order_item.order_id and product_id = order_item.product_id)`,
  "a movement is not one of an event of its order": `
    select movement.order_id from stock_movement as movement left join order_event as event
      on event.order_id = movement.order_id and sequence = order_sequence
    where movement.order_id is not null and movement.reason <> 'ORDER' and type is distinct from case movement.reason
      when 'CANCEL' then 'CANCELLED' when 'EXPIRE' then 'EXPIRED' when 'SHIP' then 'SHIPPED' else 'ITEMS_RETURNED' end`,
  "a cancelled or expired order has units left, or is shipped": `
    select id from orders join order_item on order_id = id
    where closing in ('CANCELLED', 'EXPIRED') and (cancelled_quantity <> quantity or fulfillment_state <> 'UNFULFILLED')`,
  "the fulfillment state is not that of the items and shipments": `
    select id from orders join (
      select order_id, sum(fulfilled_quantity) as fulfilled,
        sum(quantity - cancelled_quantity - fulfilled_quantity) as unshipped
      from order_item group by order_id
    ) as units on order_id = id
    where fulfillment_state <> case when fulfilled = 0 then 'UNFULFILLED' when unshipped > 0 then 'PARTIALLY_FULFILLED'
      when exists (select from fulfillment where order_id = orders.id and delivered_at is null) then 'FULFILLED'
      else 'DELIVERED' end`,
  "the shipped units of an item are not those of the shipments": `
    select order_id from order_item where fulfilled_quantity <> coalesce((
      select sum(fulfillment_item.quantity) from fulfillment join fulfillment_item on fulfillment_id = id
      where order_id = order_item.order_id and position = order_item.position), 0)`,
  "the history has gaps, or its last event has other states than the order": `
    select id from orders left join lateral (
      select count(*) + 1 as last, max(sequence) as last_sequence from order_event where order_id = id
    ) as history on true left join order_event as event on event.order_id = id and sequence = last_sequence
    where version <> last or coalesce(last_sequence, 1) <> last or sequence is not null and (
      (event.payment_state, event.fulfillment_state, event.closing, event.created_at)
        is distinct from (orders.payment_state, orders.fulfillment_state, orders.closing, updated_at))`,
  "what was paid is not the total of a paid order": `
    select id from orders where paid_minor <> case payment_state when 'PAID' then total_minor else 0 end`,
  "a paid order has no payment by hand of its number, or another order has one": `
    select orders.id from orders full join payment on payment.order_id = orders.id
    full join ledger_entry as entry on entry.payment_id = payment.id
    where (payment_state = 'PAID') is distinct from coalesce(captured_minor = total_minor and entry.amount_minor = total_minor, false)
      or payment.gateway <> 'manual' or right(payment.id::text, 12) <> right(orders.id::text, 12)`,
  "an item of a promotion does not have exactly one sale if it is paid, or has one if not": `
    select order_id from order_item join orders on orders.id = order_id
    where promotion_id is not null and (sales_recorded <> (payment_state = 'PAID') or (
      select count(*) from purchase where kind = 'SALE' and purchase.order_id = orders.id
        and purchase.product_id = order_item.product_id and purchase.promotion_id = orders.promotion_id
        and user_id = customer_id::text and amount_minor = unit_minor * quantity
    ) <> case when sales_recorded then 1 else 0 end)`,
  "the reversals of an item are not those of its cancelled and returned units": `
    select order_id from order_item join orders on orders.id = order_id
    where promotion_id is not null and (
      case when sales_recorded then unit_minor * (cancelled_quantity + returned_quantity) else 0 end,
      sales_recorded and cancelled_quantity + returned_quantity = quantity
    ) <> (
      select coalesce(sum(amount_minor), 0), coalesce(bool_or(counts), false) from purchase
      where kind = 'REVERSAL' and purchase.order_id = orders.id and purchase.product_id = order_item.product_id)`,
  "a sale is outside the time of its promotion, or its order is": `
    select event_id from purchase join promotion on promotion.id = promotion_id left join orders on orders.id = order_id
    where kind = 'SALE' and (coalesce(orders.created_at, purchased_at) < start_at
      or coalesce(orders.created_at, purchased_at) >= end_at or purchased_at > now())`,
  "a purchase has another promotion than its order": `
    select event_id from purchase join orders on orders.id = order_id
    where orders.promotion_id is distinct from purchase.promotion_id`,
  "the totals are not the sums of their purchases": `
    select * from (
      select promotion_id, product_id, currency, sum(sale_count) as sales, sum(sale_minor) as sold,
        sum(reversal_count) as reversals, sum(reversal_minor) as reversed
      from purchase_total group by 1, 2, 3
    ) as total full join (
      select promotion_id, product_id, currency,
        count(*) filter (where kind = 'SALE') as sales,
        coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0) as sold,
        count(*) filter (where kind = 'REVERSAL' and counts) as reversals,
        coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0) as reversed
      from purchase group by 1, 2, 3
    ) as counted using (promotion_id, product_id, currency, sales, sold, reversals, reversed)
    where total.sales is null or counted.sales is null`,
  "an order is older than its customer or in the future": `
    select orders.id from orders join customer on customer.id = customer_id
    where orders.created_at < customer.created_at or orders.updated_at > now()`,
  "an id is not a UUIDv7": `
    select id from (
      select id from product union all select id from customer union all select id from orders
      union all select id from category union all select id from promotion union all select event_id from purchase
    ) as ids where id::text !~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'`,
};

/** Returns the violated invariants, with the numbers of rows that violate them. */
export async function findViolations(database: TestDatabase): Promise<string[]> {
  const violated: string[] = [];
  for (const [invariant, text] of Object.entries(INVARIANT_QUERIES)) {
    const rows = await database.query(text);
    if (rows.length > 0) violated.push(`${invariant}: ${rows.length}`);
  }
  return violated;
}
