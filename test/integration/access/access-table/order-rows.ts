import { randomUUID } from "node:crypto";
import { PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { payOrder } from "../../../support/orders/order-fixtures.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import {
  type AccessRow,
  ALL,
  accessRow,
  DENIED,
  type Fixtures,
  OWNER,
  staffRow,
  withoutSetup,
} from "./access-row.ts";

/** Places an order of the owner. */
export async function createOrder({
  admin,
  owner,
}: Fixtures): Promise<{ orderId: string; productId: string }> {
  const productId = await makeProduct(admin, { stock: 10n });
  const items = [{ productId, quantity: 1n }];
  const { order } = await owner.orders.createOrder({ requestId: randomUUID(), order: { items } });
  return { orderId: order?.id ?? "", productId };
}

/** Places a paid order of the owner. */
export async function createPaidOrder(fixtures: Fixtures): Promise<{ orderId: string; productId: string }> {
  const { orderId: id, productId } = await createOrder(fixtures);
  const { order } = await fixtures.admin.orders.getOrder({ id });
  if (order === undefined) throw new Error("the order is missing");
  return { orderId: (await payOrder(fixtures.admin, order)).id, productId };
}

/** Ships an order of the owner. */
async function createShippedOrder(fixtures: Fixtures): Promise<{ orderId: string; fulfillmentId: string }> {
  const { orderId: id } = await createPaidOrder(fixtures);
  const { fulfillment } = await fixtures.admin.orders.shipOrder({ requestId: randomUUID(), id });
  return { orderId: id, fulfillmentId: fulfillment?.id ?? "" };
}

/** The methods of OrderService. */
export const orderRows: Readonly<Record<string, AccessRow>> = {
  "OrderService/CreateOrder": accessRow(
    // Another customer may not order for the owner.
    { ...OWNER, otherCustomer: DENIED },
    async ({ admin, owner: { customerId } }) => {
      const productId = await makeProduct(admin, { stock: 10n });
      const order = { customerId, items: [{ productId, quantity: 1n }] };
      return ({ orders }) => orders.createOrder({ requestId: randomUUID(), order });
    },
    Scope.ORDERS_WRITE,
  ),
  "OrderService/QuoteOrder": accessRow(ALL, async ({ admin }) => {
    const items = [{ productId: await makeProduct(admin, { stock: 1n }), quantity: 1n }];
    return ({ orders }) => orders.quoteOrder({ items, shippingAddress: { countryCode: "DE" } });
  }),
  "OrderService/GetOrder": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return ({ orders }) => orders.getOrder({ id });
    },
    Scope.ORDERS_READ,
  ),
  "OrderService/ListOrders": accessRow(
    { ...OWNER, otherCustomer: DENIED },
    withoutSetup(({ orders }, { owner: { customerId } }) => orders.listOrders({ customerId })),
    Scope.ORDERS_READ,
  ),
  "OrderService/WatchOrder": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return async ({ orders }) => {
        for await (const { order } of orders.watchOrder({ id })) return order;
      };
    },
    Scope.ORDERS_READ,
  ),
  "OrderService/CancelOrder": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return ({ orders }) => orders.cancelOrder({ id });
    },
    Scope.ORDERS_WRITE,
  ),
  "OrderService/MarkOrderPaid": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createOrder(fixtures);
    const amount = { currencyCode: "EUR", minorUnits: 1_000n };
    return ({ orders }) =>
      orders.markOrderPaid({
        requestId: randomUUID(),
        id,
        amount,
        method: PaymentMethod.CASH,
        reference: "receipt",
      });
  }),
  "OrderService/ShipOrder": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createPaidOrder(fixtures);
    return ({ orders }) => orders.shipOrder({ requestId: randomUUID(), id });
  }),
  "OrderService/DeliverOrder": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createShippedOrder(fixtures);
    return ({ orders }) => orders.deliverOrder({ requestId: randomUUID(), id });
  }),
  "OrderService/CancelOrderItems": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createOrder(fixtures);
    const items = [{ itemId: "1", quantity: 1n }];
    return ({ orders }) => orders.cancelOrderItems({ requestId: randomUUID(), id, items });
  }),
  "OrderService/ReturnOrderItems": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createShippedOrder(fixtures);
    const items = [{ itemId: "1", quantity: 1n }];
    return ({ orders }) => orders.returnOrderItems({ requestId: randomUUID(), id, items });
  }),
  "OrderService/SetOrderExpireTime": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId: id } = await createOrder(fixtures);
    return ({ orders }) => orders.setOrderExpireTime({ id, neverExpires: true });
  }),
  "OrderService/GetFulfillment": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id, fulfillmentId } = await createShippedOrder(fixtures);
      return ({ orders }) => orders.getFulfillment({ id, fulfillmentId });
    },
    Scope.ORDERS_READ,
  ),
  "OrderService/UpdateFulfillment": staffRow(Scope.ORDERS_MANAGE, async (fixtures) => {
    const { orderId, fulfillmentId: id } = await createShippedOrder(fixtures);
    return ({ orders }) => orders.updateFulfillment({ fulfillment: { id, orderId, carrier: "DHL" } });
  }),
  "OrderService/ListFulfillments": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return ({ orders }) => orders.listFulfillments({ id });
    },
    Scope.ORDERS_READ,
  ),
  "OrderService/ListOrderEvents": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return ({ orders }) => orders.listOrderEvents({ id });
    },
    Scope.ORDERS_READ,
  ),
};
