import { randomUUID } from "node:crypto";
import { PaymentMethod } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import type { Clients, TestShop } from "../shop.ts";
import { makeProduct } from "../shop-fixtures.ts";

/** What an order of a test has besides its items. */
export interface OrderFixture {
  /** Units of each product in stock before the order. */
  stock?: bigint;
  promotionId?: string;
  customerId?: string;
  /** Price of a unit of each product. Defaults to EUR 10.00. */
  price?: { currencyCode: string; minorUnits: bigint };
}

/** Places an order with one item for each quantity, each of a product of its own, by default at EUR 10.00 a unit. */
export async function placeOrder(
  clients: Clients,
  quantities: readonly bigint[],
  { stock = 100n, price, ...order }: OrderFixture = {},
): Promise<Order> {
  const items = [];
  for (const quantity of quantities) {
    items.push({ productId: await makeProduct(clients, { stock, ...price }), quantity });
  }
  const response = await clients.orders.createOrder({ requestId: randomUUID(), order: { ...order, items } });
  return orderOf(response);
}

/** Places an order like `placeOrder`, and records that it was paid. */
export async function placePaidOrder(
  clients: Clients,
  quantities: readonly bigint[],
  fixture: OrderFixture = {},
): Promise<Order> {
  return payOrder(clients, await placeOrder(clients, quantities, fixture));
}

/** Records that an order was paid in cash. */
export async function payOrder({ orders }: Clients, { id, amountDue }: Order): Promise<Order> {
  if (amountDue === undefined) throw new Error("the order has no amount due");
  const { currencyCode, minorUnits } = amountDue;
  return orderOf(
    await orders.markOrderPaid({
      requestId: randomUUID(),
      id,
      amount: { currencyCode, minorUnits },
      method: PaymentMethod.CASH,
      reference: "receipt",
    }),
  );
}

/** Returns the order of a response. */
export function orderOf({ order }: { order?: Order | undefined }): Order {
  if (order === undefined) throw new Error("the response has no order");
  return order;
}

/** The stock of a product. */
export interface StockAccounts {
  onHand: number;
  reserved: number;
}

/** Returns the stock of the products of an order's items. */
export async function stockOfItems({ database }: TestShop, { items }: Order): Promise<StockAccounts[]> {
  const rows = await database.query<StockAccounts & { id: string }>(
    `select product_id as id, on_hand::int as "onHand", reserved::int as reserved
     from inventory where product_id = any($1::uuid[])`,
    [items.map(({ productId }) => productId)],
  );
  const levels = new Map(rows.map(({ id, ...accounts }) => [id, accounts]));
  return items.map(({ productId }) => levels.get(productId) ?? { onHand: -1, reserved: -1 });
}

/** Returns the units of each item of an order as `[cancelled, fulfilled, returned]`. */
export function unitsOf({ items }: Order): number[][] {
  return items.map((item) =>
    [item.cancelledQuantity, item.fulfilledQuantity, item.returnedQuantity].map(Number),
  );
}
