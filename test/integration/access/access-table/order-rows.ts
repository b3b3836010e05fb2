import { randomUUID } from "node:crypto";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { type AccessRow, ALL, accessRow, DENIED, type Fixtures, OWNER, withoutSetup } from "./access-row.ts";

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
};
