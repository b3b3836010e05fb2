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
  ["order-payments", "orders/:order", "update orders set paid_minor = 1 where id = ':order'"],
  ["order-payments", "orders/:order", "update order_event set details = '{}' where order_id = ':order'"],
];
