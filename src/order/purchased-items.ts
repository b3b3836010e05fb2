/**
 * The SQL condition that an item of an order was bought, for the tables `orders` and `order_item`: units of it are not
 * cancelled, and its order is paid or authorized. The payments of orders that are older than the history are not known.
 */
export const IS_PURCHASED =
  "(cancelled_quantity < quantity and (payment_state not in ('UNPAID', 'FAILED') or placed_by is null))";
