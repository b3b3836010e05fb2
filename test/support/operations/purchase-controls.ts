import type { NegativeControl } from "./negative-control.ts";

/** The negative controls of the checks of purchases, and of what orders hold and record of their promotions. */
export const purchaseControls: readonly NegativeControl[] = [
  ["order-purchases", "orders/:order", "delete from purchase where order_id = ':order'"],
  [
    "order-purchases",
    "orders/:cancelled",
    "delete from purchase where order_id = ':cancelled' and kind = 'REVERSAL'",
  ],
  ["order-purchases", "orders/:order", "update orders set promotion_id = null where id = ':order'"],
  ["order-purchases", "orders/:order", "update orders set sales_recorded = false where id = ':order'"],
  ["order-purchases", "orders/:order", "update purchase set amount_minor = 1 where order_id = ':order'"],
  ["order-purchases", "orders/:order", "update purchase set product_id = ':other' where order_id = ':order'"],
  [
    "order-purchases",
    "orders/:order",
    "update order_item set cancelled_quantity = 2 where order_id = ':order'",
  ],
  [
    "order-purchases",
    "orders/:held",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, ':held', kind, currency, amount_minor, client_address, purchased_at, created_at, counts from purchase where order_id = ':order'",
  ],
  ["order-holds", "orders/:held", "delete from promotion_hold where order_id = ':held'"],
  ["order-holds", "orders/:held", "update promotion_hold set purchases = 2 where order_id = ':held'"],
  ["order-holds", "orders/:held", "update promotion_hold set user_id = 'ann' where order_id = ':held'"],
  ["order-holds", "orders/:held", "update orders set closing = 'EXPIRED' where id = ':held'"],
  ["order-holds", "orders/:order", "insert into promotion_hold values (':order', ':promotion', 'ann', 1)"],
  ["order-sales", "orders/:held", "update orders set payment_state = 'AUTHORIZED' where id = ':held'"],
  ["order-sales", "orders/:order", "update orders set promotion_id = null where id = ':order'"],
  [
    "purchase-totals",
    "promotions/:promotion/products/:product",
    "update purchase_total set sale_count = sale_count + 1 where promotion_id = ':promotion'",
  ],
  [
    "purchase-totals",
    "promotions/:promotion/products/:product",
    "delete from purchase_total where promotion_id = ':promotion'",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, null, kind, currency, amount_minor, client_address, purchased_at, created_at, counts from purchase, generate_series(1, 3) where order_id = ':order'",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into purchase select gen_random_uuid(), n::text, promotion_id, product_id, null, kind, currency, amount_minor, client_address, purchased_at, created_at, counts from purchase, generate_series(1, 5) as n where order_id = ':order'",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into promotion_hold select ':order', ':promotion', 'ann', 3",
    "insert into promotion_hold select ':cancelled', ':promotion', 'bo', 2",
  ],
  [
    "promotion-limits",
    "promotions/:promotion",
    "insert into promotion_hold select id, ':promotion', customer_id::text, 3 from orders where id = ':order'",
  ],
  [
    "promotion-holds",
    "promotions/:promotion",
    "insert into promotion_hold values (':order', ':promotion', 'ann', 1)",
  ],
  [
    "promotion-holds",
    "promotions/:promotion",
    "update promotion set held_purchases = 1, purchase_limit = 0, purchase_limit_per_user = 0",
    "insert into promotion_hold values (':order', ':promotion', 'ann', 1)",
  ],
  [
    "purchase-reversals",
    "orders/:cancelled",
    "update purchase set amount_minor = amount_minor + 1 where order_id = ':cancelled' and kind = 'REVERSAL'",
  ],
  [
    "purchase-reversals",
    "orders/:cancelled",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, order_id, 'REVERSAL', currency, 1, client_address, purchased_at, created_at, false from purchase where order_id = ':cancelled' and kind = 'SALE'",
  ],
  [
    "purchase-reversals",
    "orders/:cancelled",
    "update purchase set amount_minor = amount_minor - 1 where order_id = ':cancelled' and kind = 'REVERSAL'",
  ],
  [
    "purchase-reversals",
    "orders/:order",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, order_id, 'REVERSAL', currency, amount_minor + 1, client_address, purchased_at, created_at, false from purchase where order_id = ':order'",
  ],
  [
    "purchase-reversals",
    "orders/:order",
    "drop index purchase_order_unique",
    "insert into purchase select gen_random_uuid(), user_id, promotion_id, product_id, order_id, kind, currency, amount_minor, client_address, purchased_at, created_at, counts from purchase where order_id = ':order'",
  ],
];
