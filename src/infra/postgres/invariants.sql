-- What must always hold, checked on one snapshot. Each row of the answer is a breach; no rows: all is well.
--   psql "$(cat .data/postgres.url)" -f src/infra/postgres/invariants.sql
begin transaction isolation level repeatable read read only;

with
movement as (
  select product_id,
    sum(delta) as total,
    coalesce(sum(delta) filter (where order_id is null), 0) as by_hand
  from stock_movement group by product_id
),
sold as (
  select product_id, sum(quantity) as quantity
  from order_item join orders on orders.id = order_id
  where state <> 'CANCELLED' group by product_id
),
item as (
  select order_id, count(*) as items, sum(unit_minor * quantity) as total_minor
  from order_item group by order_id
),
counted as (
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
rated as (
  select product_id, count(*) as reviews, sum(rating) as stars from review group by product_id
),
breach (invariant, subject, detail) as (
  select 'I1', 'products/' || id,
    format('stock %s, ledger %s, changed by hand %s, sold %s, counted as sold %s', stock_quantity,
      coalesce(total, 0), coalesce(by_hand, 0), coalesce(quantity, 0), purchase_count)
  from product
    left join movement on movement.product_id = product.id
    left join sold on sold.product_id = product.id
  where stock_quantity <> coalesce(total, 0)
    or coalesce(by_hand, 0) <> stock_quantity + coalesce(quantity, 0)
    or purchase_count <> coalesce(quantity, 0)

  union all
  select 'I2', 'products/' || id, format('stock %s', stock_quantity) from product where stock_quantity < 0

  union all
  select 'I2', 'orders/' || order_id, format('quantity %s', quantity) from order_item where quantity < 1

  union all
  select 'I2', 'orders/' || id, format('total %s, items %s', orders.total_minor, item.total_minor)
  from orders join item on item.order_id = orders.id where orders.total_minor <> item.total_minor

  -- I3, that whoever was told of an order or a purchase finds its row, shows from outside. Within: an answer
  -- that is kept for repeats has its order.
  union all
  select 'I3', 'requests/' || idempotency.request_id, 'an answer without its order'
  from idempotency
  where method = 'CreateOrder' and not exists (
    select from orders
    where orders.request_id = idempotency.request_id
      -- Guests are told apart by the service that ordered for them.
      and case when customer_id is null then owner = '' or owner like 'service-account:%' else customer_id::text = owner end
  )

  union all
  select 'I4', 'requests/' || request_id, format('%s orders of customer %s', count(*), customer_id)
  from orders group by customer_id, request_id having count(*) > 1

  union all
  select 'I5', format('promotions/%s/products/%s', promotion_id, product_id),
    format('%s: totals %s/%s sales, %s/%s reversals; rows %s/%s, %s/%s', currency,
      total.sale_count, total.sale_minor, total.reversal_count, total.reversal_minor,
      counted.sale_count, counted.sale_minor, counted.reversal_count, counted.reversal_minor)
  from total full join counted using (promotion_id, product_id, currency)
  where total.sale_count is distinct from counted.sale_count
    or total.sale_minor is distinct from counted.sale_minor
    or total.reversal_count is distinct from counted.reversal_count
    or total.reversal_minor is distinct from counted.reversal_minor

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

  -- What an order took is what its items say, product by product; and a cancel put exactly that back, once.
  union all
  select case reason when 'ORDER' then 'I6' else 'I7' end, 'orders/' || order_id,
    format('products/%s: %s of items, %s in the ledger for %s', product_id, expected.quantity, moved.quantity, reason)
  from (
    select order_id, product_id, 'ORDER' as reason, -quantity as quantity from order_item
    union all
    select order_id, product_id, 'CANCEL', quantity
    from order_item join orders on orders.id = order_id where state = 'CANCELLED'
  ) as expected full join (
    select order_id, product_id, reason, delta as quantity from stock_movement where order_id is not null
  ) as moved using (order_id, product_id, reason)
  where expected.quantity is distinct from moved.quantity

  -- I8 is held by the table itself: a session has room for one refresh token, and a constraint takes it from one
  -- that has ended.

  -- I9, that a cached read equals the database, shows from outside. Within: the counts that triggers keep are
  -- those of the products.
  union all
  select 'I9', 'categories/' || category_id,
    format('brand "%s", %s from %s: counted %s, %s in stock, sum %s; products %s, %s, %s', brand, currency, band,
      coalesce(tally.products, 0), coalesce(tally.in_stock, 0), coalesce(tally.price_sum, 0),
      coalesce(seen.products, 0), coalesce(seen.in_stock, 0), coalesce(seen.price_sum, 0))
  from (
    select category_id, brand, currency, band, sum(product_count) as products, sum(in_stock_count) as in_stock,
      sum(price_sum) as price_sum
    from product_tally group by category_id, brand, currency, band
  ) as tally full join (
    select category_id, brand, currency, price_band(price_minor) as band, count(*) as products,
      count(*) filter (where in_stock) as in_stock, sum(price_minor) as price_sum
    from product where active group by category_id, brand, currency, price_band(price_minor)
  ) as seen using (category_id, brand, currency, band)
  where (coalesce(tally.products, 0), coalesce(tally.in_stock, 0), coalesce(tally.price_sum, 0))
    <> (coalesce(seen.products, 0), coalesce(seen.in_stock, 0), coalesce(seen.price_sum, 0))

  -- The rating of a product is that of its reviews.
  union all
  select 'ratings', 'products/' || id,
    format('rated %s by %s, sum %s; reviews %s, sum %s', rating_average, rating_count, rating_sum,
      coalesce(reviews, 0), coalesce(stars, 0))
  from product left join rated on rated.product_id = product.id
  where (rating_count, rating_sum) <> (coalesce(reviews, 0), coalesce(stars, 0))
    or rating_average <> coalesce(stars::double precision / reviews, 0)
)
select * from breach order by invariant, subject limit 100;

commit;
