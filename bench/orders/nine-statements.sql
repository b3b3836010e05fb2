-- An order of two lines as pgbench places it: the rows that the service writes, as nine statements in one transaction,
-- in the way of a service that locks its rows in id order and reads them before it writes. Statements that concern both
-- lines do so in one round trip.
-- Variables: products, customers; hot, the number of a product that is in each order, or 0 for two random products.
\set first case when :hot > 0 then :hot else random(1, :products) end
\set second 1 + (:first + random(0, :products - 2)) % :products
\set lower least(:first, :second)
\set upper greatest(:first, :second)
\set customer random(1, :customers)
begin;
-- 1. The request_id: has it been used before? The ids are made here, because pgbench has no uuids of its own.
select request_id, uuidv7() as order_id, customer_id, lower_id, upper_id,
  (select id from orders where owner = made.customer_id::text and orders.request_id = made.request_id) as earlier_id
from (
  select gen_random_uuid() as request_id,
    ('01941f29-7c00-7004-8000-' || lpad((:customer)::int::text, 12, '0'))::uuid as customer_id,
    ('01941f29-7c00-7003-8000-' || lpad((:lower)::int::text, 12, '0'))::uuid as lower_id,
    ('01941f29-7c00-7003-8000-' || lpad((:upper)::int::text, 12, '0'))::uuid as upper_id
  offset 0
) as made
\gset
-- 2. The customer must not be deleted before the order is placed.
select deleted_at from customer where id = :customer_id::uuid for key share;
-- 3. The stock, locked in id order.
select product_id, on_hand, reserved from inventory
where product_id in (:lower_id::uuid, :upper_id::uuid) order by product_id for no key update;
-- 4. Names and prices.
select one.sku as lower_sku, one.name as lower_name, one.price_minor as lower_price, one.currency, one.active,
  two.sku as upper_sku, two.name as upper_name, two.price_minor as upper_price, two.currency, two.active
from product as one, product as two where one.id = :lower_id::uuid and two.id = :upper_id::uuid
\gset
-- 5. The order.
insert into orders (
  id, owner, request_id, fingerprint, customer_id, currency, total_minor, expires_at, reservation_seconds, placed_by,
  version, created_at, updated_at
) values (
  :order_id::uuid, :customer_id::uuid::text, :request_id::uuid, '\x8fb1c26d1e2bd8b4f5a0d5be5a0f3ab7c81ff1d6f2f3fd3f33d1c2c1aa08a9d4', :customer_id::uuid,
  'EUR', :lower_price::bigint + :upper_price::bigint, now() + interval '30 minutes', 1800, 'SYSTEM', 1, now(), now()
);
-- 6. Its items.
insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity) values
  (:order_id::uuid, 1, :lower_id::uuid, :lower_sku, :lower_name, :lower_price::bigint, 1),
  (:order_id::uuid, 2, :upper_id::uuid, :upper_sku, :upper_name, :upper_price::bigint, 1);
-- 7. The ledger.
insert into stock_movement (product_id, reserved_delta, reason, order_id, order_sequence, effective_at, created_at) values
  (:lower_id::uuid, 1, 'ORDER', :order_id::uuid, 1, now(), now()),
  (:upper_id::uuid, 1, 'ORDER', :order_id::uuid, 1, now(), now());
-- 8. The stock.
update inventory set reserved = reserved + 1, version = version + 1
where product_id in (:lower_id::uuid, :upper_id::uuid);
-- 9. The event of the outbox. The table is the active one: without consumers they are not rotated.
insert into outbox_1 (epoch, events) values (1, jsonb_build_array(jsonb_build_object('topic', 'product-sales', 'data',
  jsonb_build_array(
    jsonb_build_object('productId', :lower_id::uuid, 'units', '1'),
    jsonb_build_object('productId', :upper_id::uuid, 'units', '1')
  )
)));
commit;
