import { randomUUID } from "node:crypto";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import type { Payment } from "../../../gen/cartwright/payment/v1/payment_pb.ts";
import { placeOrder } from "../orders/order-fixtures.ts";
import type { Clients } from "../shop.ts";

/** Creates a payment of what is due of an order, with a method. */
export async function createPayment(
  { payments }: Clients,
  orderId: string,
  paymentMethod = "ok",
): Promise<Payment> {
  const request = { requestId: randomUUID(), payment: { orderId }, paymentMethod };
  return paymentOf(await payments.createPayment(request));
}

/** Places an order like `placeOrder`, and creates a payment of it. */
export async function placeWithPayment(
  clients: Clients,
  quantities: readonly bigint[],
  paymentMethod = "ok",
): Promise<{ order: Order; payment: Payment }> {
  const order = await placeOrder(clients, quantities);
  return { order, payment: await createPayment(clients, order.id, paymentMethod) };
}

/** Returns the payment of a response. */
export function paymentOf({ payment }: { payment?: Payment | undefined }): Payment {
  if (payment === undefined) throw new Error("the response has no payment");
  return payment;
}
