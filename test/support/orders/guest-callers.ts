import { randomUUID } from "node:crypto";
import type { Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createOrderTokens } from "../../../src/order/guest/order-token.ts";
import { type Clients, clientsOf, longDeadline, type TestShop } from "../shop.ts";

/** Returns clients of a caller who is not signed in, or of an account, and sends an order token. */
export function clientsWithOrderToken(
  shop: TestShop,
  orderToken: string,
  accessToken?: string,
): Clients & { json: Clients } {
  const addHeaders: Interceptor = (next) => (request) => {
    request.header.set("x-order-token", orderToken);
    if (accessToken !== undefined) request.header.set("authorization", `Bearer ${accessToken}`);
    return next(request);
  };
  const options = { baseUrl: shop.url, interceptors: [addHeaders, longDeadline] };
  return {
    ...clientsOf(createGrpcTransport(options)),
    json: clientsOf(createConnectTransport({ ...options, httpVersion: "1.1", useBinaryFormat: false })),
  };
}

/** A guest's order and its token. */
export interface GuestOrder {
  id: string;
  orderToken: string;
}

/** Places an order without a customer: of an anonymous caller or, for another shop, of staff. */
export async function placeGuestOrder(
  { orders }: Pick<Clients, "orders">,
  productId: string,
): Promise<GuestOrder> {
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const { order, orderToken } = await orders.createOrder(request);
  return { id: order?.id ?? "", orderToken };
}

/** Returns a token that the shop itself would have issued for an order that was created at another time. */
export async function issueToken({ database }: TestShop, orderId: string, createTime: Date): Promise<string> {
  const [row] = await database.query<{ value: Buffer }>(
    "select value from secret where name = 'order-token/0'",
  );
  if (row === undefined) throw new Error("the shop has no key of order tokens");
  const key = { id: "0", validFrom: new Date(0), secret: row.value };
  return createOrderTokens([key]).issue(orderId, createTime);
}
