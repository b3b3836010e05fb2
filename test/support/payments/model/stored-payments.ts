import type { TestDatabase } from "../../stores/database.ts";
import type { StoredOrder, StoredPayment, StoredRefund } from "./payment-shop.ts";

interface Row {
  id: string;
  closing: string;
  cost: number;
  paid: number;
  refunded: number;
  payment_state: string;
  quantities: number[];
  shipments: number;
  is_shipped: boolean;
  payments: StoredPayment[];
  refunds: StoredRefund[];
}

/** Returns orders with their payments and refunds, in the order of their ids, as they are stored. */
export async function readStoredPayments(
  database: TestDatabase,
  orderIds: readonly string[],
): Promise<StoredOrder[]> {
  const rows = await database.query<Row>(
    `select id, closing, total_minor::int as cost, paid_minor::int as paid, refunded_minor::int as refunded, payment_state,
       (select json_agg(quantity order by position) from order_item where order_id = orders.id) as quantities,
       (select count(*)::int from fulfillment where order_id = orders.id) as shipments,
       closing = 'NONE' and not exists (
         select from order_item where order_id = orders.id and cancelled_quantity + fulfilled_quantity < quantity
       ) as is_shipped,
       (select coalesce(json_agg(json_build_object('id', id, 'state', state, 'authorized', authorized_minor,
          'captured', captured_minor, 'refunded', payment.refunded_minor, 'requested', requested_refund_minor
        ) order by id), '[]') from payment where order_id = orders.id) as payments,
       (select coalesce(json_agg(json_build_object('amount', amount_minor, 'shares', (
          select coalesce(json_agg(refund_line.amount_minor), '[]') from refund_line where refund_id = refund.id
        )::jsonb || to_jsonb(shipping_minor)) order by id), '[]') from refund where order_id = orders.id) as refunds
     from orders where id = any($1) order by id`,
    [orderIds],
  );
  return rows.map(({ payment_state: paymentState, is_shipped: isShipped, ...row }) => ({
    ...row,
    paymentState,
    isShipped,
  }));
}
