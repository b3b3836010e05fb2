-- Checks the invariants of the data in one snapshot. Each row of the result is a violation.
--   psql "$(cat .data/postgres.url)" -f src/infra/postgres/invariants.sql
begin transaction isolation level repeatable read read only;

with
movement as (
  select product_id, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved
  from stock_movement group by product_id
),
-- Units of orders that are not cancelled: reserved until they are shipped, and counted as sold.
ordered as (
  select product_id, sum(quantity) as quantity
  from order_item join orders on orders.id = order_id
  where state <> 'CANCELLED' group by product_id
),
item as (
  select order_id, count(*) as items, sum(unit_minor * quantity) as total_minor
  from order_item group by order_id
),
purchase_sum as (
  select promotion_id, product_id, currency,
    count(*) filter (where kind = 'SALE') as sale_count,
    coalesce(sum(amount_minor) filter (where kind = 'SALE'), 0) as sale_minor,
    count(*) filter (where kind = 'REVERSAL') as reversal_count,
    coalesce(sum(amount_minor) filter (where kind = 'REVERSAL'), 0) as reversal_minor
  from purchase group by promotion_id, product_id, currency
),
total as (
  select promotion_id, product_id, currency,
    sum(sale_count) as sale_count, sum(sale_minor) as sale_minor,
    sum(reversal_count) as reversal_count, sum(reversal_minor) as reversal_minor
  from purchase_total group by promotion_id, product_id, currency
),
review_sum as (
  select product_id, count(*) as reviews, sum(rating) as stars from review group by product_id
),
uncounted as (
  select (sale ->> 'productId')::uuid as product_id
  from (
    select epoch, xid, id, events from outbox_1
    union all select epoch, xid, id, events from outbox_2
    union all select epoch, xid, id, events from outbox_3
  ) as outbox, jsonb_path_query(events, '$[*] ? (@.topic == "product-sales").data[*]') as sale
  where (epoch, xid, id) > (select epoch, xid, id from outbox_cursor where consumer = 'product-sales')
),
violation (invariant, subject, detail) as (
  select 'I1', 'products/' || id,
    format('on hand %s, ledger %s; reserved %s, ledger %s, ordered %s', inventory.on_hand, coalesce(movement.on_hand, 0),
      inventory.reserved, coalesce(movement.reserved, 0), coalesce(quantity, 0))
  from product
    left join inventory on inventory.product_id = product.id
    left join movement on movement.product_id = product.id
    left join ordered on ordered.product_id = product.id
  where inventory.on_hand is distinct from coalesce(movement.on_hand, 0)
    or inventory.reserved is distinct from coalesce(movement.reserved, 0)
    or inventory.reserved is distinct from coalesce(quantity, 0)

  union all
  select 'I1', 'products/' || id, format('in stock: %s; on hand %s, reserved %s', in_stock, on_hand, reserved)
  from product join inventory on product_id = id where in_stock <> (on_hand > reserved)

  union all
  select 'I1', 'products/' || id, format('counted as sold %s, ordered %s', coalesce(purchase_count, 0), coalesce(quantity, 0))
  from product
    left join product_sales on product_sales.product_id = product.id
    left join ordered on ordered.product_id = product.id
  where coalesce(purchase_count, 0) <> coalesce(quantity, 0) and product.id not in (select product_id from uncounted)

  union all
  select 'I1', 'products/' || id, format('popularity %s of %s units sold', popularity, coalesce(purchase_count, 0))
  from product left join product_sales on product_id = id
  where popularity <> floor(10 * ln(1 + coalesce(purchase_count, 0)::double precision))

  union all
  select 'I2', 'products/' || product_id, format('on hand %s, reserved %s', on_hand, reserved)
  from inventory where reserved < 0 or on_hand < reserved

  union all
  select 'I2', 'orders/' || order_id, format('quantity %s', quantity) from order_item where quantity < 1

  union all
  select 'I2', 'orders/' || id, format('total %s, items %s', orders.total_minor, item.total_minor)
  from orders join item on item.order_id = orders.id where orders.total_minor <> item.total_minor

  -- I3 (acknowledged orders and purchases are stored) is tested with clients. Here: each stored result of CreateOrder
  -- has its order.
  union all
  select 'I3', 'requests/' || idempotency.request_id, 'a result without its order'
  from idempotency
  where method = 'CreateOrder' and not exists (
    select from orders
    where orders.request_id = idempotency.request_id
      -- Orders of guests belong to the service that placed them.
      and case when customer_id is null then owner = '' or owner like 'service-account:%' else customer_id::text = owner end
  )

  union all
  select 'I4', 'requests/' || request_id, format('%s orders of customer %s', count(*), customer_id)
  from orders group by customer_id, request_id having count(*) > 1

  union all
  select 'I5', format('promotions/%s/products/%s', promotion_id, product_id),
    format('%s: totals %s/%s sales, %s/%s reversals; rows %s/%s, %s/%s', currency,
      total.sale_count, total.sale_minor, total.reversal_count, total.reversal_minor,
      purchase_sum.sale_count, purchase_sum.sale_minor, purchase_sum.reversal_count, purchase_sum.reversal_minor)
  from total full join purchase_sum using (promotion_id, product_id, currency)
  where total.sale_count is distinct from purchase_sum.sale_count
    or total.sale_minor is distinct from purchase_sum.sale_minor
    or total.reversal_count is distinct from purchase_sum.reversal_count
    or total.reversal_minor is distinct from purchase_sum.reversal_minor

  union all
  select 'I5', 'orders/' || orders.id, format('%s items, %s sales, %s reversals of its promotion', items,
    count(purchase.event_id) filter (where kind = 'SALE'), count(purchase.event_id) filter (where kind = 'REVERSAL'))
  from orders join item on item.order_id = orders.id left join purchase on purchase.order_id = orders.id
  where orders.promotion_id is not null
  group by orders.id, items
  having count(purchase.event_id) filter (where kind = 'SALE') <> items
    or count(purchase.event_id) filter (where kind = 'REVERSAL') <> (case state when 'CANCELLED' then items else 0 end)

  union all
  select 'I6', 'orders/' || id, 'no items' from orders where id not in (select order_id from item)

  -- The stock movements of an order equal its items. The movements of a cancellation equal their reversal.
  union all
  select case reason when 'ORDER' then 'I6' else 'I7' end, 'orders/' || order_id,
    format('products/%s: %s of items, %s in the ledger for %s', product_id, expected.quantity, moved.quantity, reason)
  from (
    select order_id, product_id, 'ORDER' as reason, quantity from order_item
    union all
    select order_id, product_id, 'CANCEL', -quantity
    from order_item join orders on orders.id = order_id where state = 'CANCELLED'
  ) as expected full join (
    select order_id, product_id, reason, reserved_delta as quantity from stock_movement where order_id is not null
  ) as moved using (order_id, product_id, reason)
  where expected.quantity is distinct from moved.quantity

  -- I8 holds by the schema: a row of session has one refresh token, and a check constraint removes it at the end.

  -- I9 (cached reads equal the database) is tested with clients. Here: the counts that triggers maintain equal those of
  -- the products.
  union all
  select 'I9', 'categories/' || category_id,
    format('brand "%s", %s from %s: counted %s, %s in stock, sum %s; products %s, %s, %s', brand, currency, band,
      coalesce(stored.products, 0), coalesce(stored.in_stock, 0), coalesce(stored.price_sum, 0),
      coalesce(actual.products, 0), coalesce(actual.in_stock, 0), coalesce(actual.price_sum, 0))
  from (
    select category_id, brand, currency, band, sum(product_count) as products, sum(in_stock_count) as in_stock,
      sum(price_sum) as price_sum
    from product_tally group by category_id, brand, currency, band
  ) as stored full join (
    select category_id, brand, currency, price_band(price_minor) as band, count(*) as products,
      count(*) filter (where in_stock) as in_stock, sum(price_minor) as price_sum
    from product where active group by category_id, brand, currency, price_band(price_minor)
  ) as actual using (category_id, brand, currency, band)
  where (coalesce(stored.products, 0), coalesce(stored.in_stock, 0), coalesce(stored.price_sum, 0))
    <> (coalesce(actual.products, 0), coalesce(actual.in_stock, 0), coalesce(actual.price_sum, 0))

  -- The rating of a product equals that of its reviews.
  union all
  select 'ratings', 'products/' || id,
    format('rated %s by %s, sum %s; reviews %s, sum %s', rating_average, rating_count, rating_sum,
      coalesce(reviews, 0), coalesce(stars, 0))
  from product left join review_sum on review_sum.product_id = product.id
  where (rating_count, rating_sum) <> (coalesce(reviews, 0), coalesce(stars, 0))
    or rating_average <> coalesce(stars::double precision / reviews, 0)
)
select * from violation order by invariant, subject limit 100;

commit;
