import type { Fixture } from "./fixture.ts";
import { orderKey } from "./operation.ts";
import type { StoredOrder } from "./shop-run.ts";

/** Runs a statement and returns its rows. */
interface Connection {
  query<Row extends object>(text: string, values: unknown[]): Promise<Row[]>;
}

interface Units {
  position: number;
  quantity: number;
}

interface OrderRow {
  id: string;
  customer_id: string | null;
  request_id: string;
  payment_state: string;
  paid_minor: string;
  closing: string;
  version: number;
  promotion_id: string | null;
  shipping_minor: string;
  tax_minor: string;
  has_expire_time: boolean;
  items: {
    product_id: string;
    quantity: number;
    unit_minor: number;
    tax_minor: number;
    cancelled_quantity: number;
    fulfilled_quantity: number;
    returned_quantity: number;
  }[];
  events: { sequence: number; type: string }[] | null;
  shipments: { is_delivered: boolean; units: Units[] }[] | null;
  purchases: { kind: string; counts: boolean; product_id: string; amount_minor: number }[] | null;
}

const SELECT = `
  select id, customer_id, request_id, payment_state, paid_minor, closing, version, promotion_id, shipping_minor, tax_minor,
    expires_at is not null as has_expire_time,
    (select json_agg(order_item order by position) from order_item where order_id = orders.id) as items,
    (select json_agg(order_event order by sequence) from order_event where order_id = orders.id) as events,
    (select json_agg(json_build_object('is_delivered', delivered_at is not null, 'units', (
      select json_agg(fulfillment_item) from fulfillment_item where fulfillment_id = fulfillment.id
    ))) from fulfillment where order_id = orders.id) as shipments,
    (select json_agg(purchase) from purchase where order_id = orders.id) as purchases
  from orders`;

/** Returns orders by their key, as they are stored; several orders of one key are a list with more than one. */
export async function readStoredOrders(
  connection: Connection,
  fixture: Pick<Fixture, "productIds" | "customerIds" | "requestIds">,
  condition: string,
  values: unknown[],
): Promise<Record<string, StoredOrder[]>> {
  const { productIds, customerIds, requestIds } = fixture;
  const rows = await connection.query<OrderRow>(`${SELECT} where ${condition} order by id`, values);
  const orders: Record<string, StoredOrder[]> = {};
  for (const row of rows) {
    const key = orderKey({
      owner: customerIds.indexOf(row.customer_id ?? ""),
      requestId: requestIds.indexOf(row.request_id),
    });
    orders[key] = [...(orders[key] ?? []), orderFromRow(row, productIds)];
  }
  return orders;
}

function orderFromRow(row: OrderRow, productIds: readonly string[]): StoredOrder {
  const itemTaxes = row.items.reduce((sum, item) => sum + item.tax_minor, 0);
  return {
    id: row.id,
    hasPromotion: row.promotion_id !== null,
    payment: row.payment_state,
    paid: Number(row.paid_minor),
    closing: row.closing,
    version: row.version,
    shipping: Number(row.shipping_minor) + Number(row.tax_minor) - itemTaxes,
    hasExpireTime: row.has_expire_time,
    lines: row.items.map((item) => ({
      product: productIds.indexOf(item.product_id),
      quantity: item.quantity,
      unitPrice: item.unit_minor,
      tax: item.tax_minor,
      cancelled: item.cancelled_quantity,
      fulfilled: item.fulfilled_quantity,
      returned: item.returned_quantity,
    })),
    events: [
      "PLACED",
      ...(row.events ?? []).map(({ sequence, type }, index) =>
        sequence === index + 2 ? type : `${type} with the sequence ${sequence}`,
      ),
    ],
    shipments: (row.shipments ?? []).map(({ is_delivered: isDelivered, units }) => ({
      isDelivered,
      units: units.map(({ position, quantity }) => ({ item: position - 1, quantity })),
    })),
    purchases: (row.purchases ?? []).map(
      ({ kind, counts, product_id: id, amount_minor: amount }) =>
        `${counts ? "" : "PARTIAL "}${kind} of ${productIds.indexOf(id)} for ${amount}`,
    ),
  };
}
