import { randomUUID } from "node:crypto";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { orderOf, placeOrder } from "../orders/order-fixtures.ts";
import type { Clients, TestShop } from "../shop.ts";
import { insertCapturedPayment } from "./captured-payments.ts";

/** What a request refunds. */
export type RefundSubject = NonNullable<Parameters<Clients["orders"]["refundOrder"]>[0]["subject"]>;

/** The fields of a request that most tests leave empty. */
export interface FurtherFields {
  requestId?: string;
  etag?: string;
  paymentId?: string;
  returnItems?: boolean;
  restock?: boolean;
  reason?: string;
  reference?: string;
  validateOnly?: boolean;
}

/** Returns units of items, by their ids. */
export function units(quantities: Readonly<Record<string, bigint>>, includeShipping = false) {
  const items = Object.entries(quantities).map(([itemId, quantity]) => ({ itemId, quantity }));
  return { case: "items" as const, value: { items, includeShipping } };
}

/** Returns an amount, in EUR by default. */
export function amount(minorUnits: bigint, currencyCode = "EUR") {
  return { case: "amount" as const, value: { currencyCode, minorUnits } };
}

/** The rest of the shipping. */
export const shipping = { case: "shipping" as const, value: true };

/** Requests a refund. */
export function refund({ orders }: Clients, id: string, subject: RefundSubject, further: FurtherFields = {}) {
  return orders.refundOrder({ id, requestId: randomUUID(), subject, ...further });
}

/** Places an order at EUR 10.00 a unit with EUR 5.00 of shipping, which a gateway has captured. */
export async function placeCapturedOrder(
  shop: TestShop,
  quantities: readonly bigint[],
): Promise<{ order: Order; paymentId: string }> {
  const { id } = await placeOrder(shop, quantities);
  await shop.database.query(
    "update orders set shipping_minor = 500, total_minor = total_minor + 500, shipping_option = $2 where id = $1",
    [id, { id: "post", name: "Post", price: "500", tax: "0", minDeliveryDays: 0, maxDeliveryDays: 0 }],
  );
  const paymentId = await insertCapturedPayment(shop, orderOf(await shop.orders.getOrder({ id })));
  return { order: orderOf(await shop.orders.getOrder({ id })), paymentId };
}

/** Returns the open requests for refunds of an order, with the number of their jobs. */
export function refundRequestsOf({ database }: TestShop, orderId: string) {
  return database.query<{ id: string; amount: string; jobs: number }>(
    `select id, amount_minor as amount, (
       select count(*)::int from pgboss.job where name = 'payment-request' and data ->> 'requestId' = request.id::text
     ) as jobs
     from payment_request as request where order_id = $1 and kind = 'REFUND' and state = 'OPEN' order by id`,
    [orderId],
  );
}
