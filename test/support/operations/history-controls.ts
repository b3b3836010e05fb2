import type { NegativeControl } from "./negative-control.ts";

/** Controls of the checks of histories. `:shipped` is a paid order of 2 units, of which one is shipped and delivered. */
export const historyControls: readonly NegativeControl[] = [
  ["order-history", "orders/:order", "update order_event set type = 'CANCELLED' where order_id = ':order'"],
  [
    "order-history",
    "orders/:cancelled",
    "update order_event set payment_state = 'UNPAID' where order_id = ':cancelled' and sequence = 3",
  ],
  [
    "order-history",
    "orders/:shipped",
    "update order_event set fulfillment_state = 'UNFULFILLED' where order_id = ':shipped' and type = 'SHIPPED'",
  ],
  [
    "order-history",
    "orders/:shipped",
    "update order_event set type = 'FULFILLMENT_CHANGED' where order_id = ':shipped' and type = 'SHIPPED'",
  ],
  ["order-last-event", "orders/:order", "update orders set payment_state = 'UNPAID' where id = ':order'"],
  ["order-last-event", "orders/:held", "update orders set payment_state = 'PAID' where id = ':held'"],
  [
    "order-units",
    "orders/:shipped",
    "update order_item set fulfilled_quantity = 2 where order_id = ':shipped'",
  ],
  [
    "order-units",
    "orders/:shipped",
    "update fulfillment_item set quantity = 2 where fulfillment_id in (select id from fulfillment where order_id = ':shipped')",
  ],
  ["order-units", "orders/:order", "update order_item set cancelled_quantity = 1 where order_id = ':order'"],
  [
    "order-units",
    "orders/:cancelled",
    "update order_item set cancelled_quantity = 1 where order_id = ':cancelled'",
  ],
  [
    "order-units",
    "orders/:shipped",
    "update order_item set returned_quantity = 1 where order_id = ':shipped'",
  ],
  [
    "order-fulfillment-state",
    "orders/:shipped",
    "update orders set fulfillment_state = 'DELIVERED' where id = ':shipped'",
  ],
  [
    "order-fulfillment-state",
    "orders/:order",
    "update orders set fulfillment_state = 'FULFILLED' where id = ':order'",
  ],
  [
    "order-shipments",
    "orders/:shipped",
    "delete from stock_movement where order_id = ':shipped' and reason = 'SHIP'",
  ],
  [
    "order-shipments",
    "orders/:shipped",
    "insert into stock_movement (product_id, on_hand_delta, reason, order_id, order_sequence, effective_at, created_at) values (':product', 1, 'ORDER_RETURN', ':shipped', 9, now(), now())",
  ],
  [
    "order-item-units",
    "orders/:shipped",
    "alter table order_item drop constraint order_item_units_add_up",
    "update order_item set cancelled_quantity = 2 where order_id = ':shipped'",
  ],
  [
    "order-item-units",
    "orders/:shipped",
    "alter table order_item drop constraint order_item_units_add_up",
    "update order_item set returned_quantity = 2 where order_id = ':shipped'",
  ],
  [
    "references",
    "orders/:product",
    "alter table order_event drop constraint order_event_order_id_fkey",
    "update order_event set order_id = ':product' where order_id = ':order'",
  ],
  [
    "references",
    "orders/:product",
    "alter table order_expiry drop constraint order_expiry_order_id_fkey",
    "insert into order_expiry values (':product', 1, now())",
  ],
  [
    "references",
    "fulfillments/:product",
    "alter table fulfillment drop constraint fulfillment_order_id_fkey",
    "insert into fulfillment values (':product', ':product', '', '', '', now())",
  ],
  [
    "references",
    "fulfillments/:product",
    "alter table fulfillment_item drop constraint fulfillment_item_fulfillment_id_fkey",
    "insert into fulfillment_item values (':product', 1, 1)",
  ],
];
