import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { clientsWithOrderToken, issueToken, placeGuestOrder } from "../../../support/orders/guest-callers.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let admin: SignedInAccount;
let productId: string;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", GUEST_CHECKOUT: "on" });
  admin = await createAccount(shop, "ADMIN");
  productId = await makeProduct(admin, { stock: 1_000n });
});
afterAll(() => shop.close());

function postOrder(body: object): Promise<string> {
  const url = `${shop.url}/cartwright.order.v1.OrderService/CreateOrder`;
  const headers = { "content-type": "application/json" };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(body) }).then((response) =>
    response.text(),
  );
}

describe("a repeated CreateOrder of a guest", () => {
  test("a repeated CreateOrder returns the same bytes, the token included, also after the order has changed", async () => {
    const body = {
      requestId: randomUUID(),
      order: { items: [{ productId, quantity: 2 }], email: "a@example.com" },
    };
    const first = await postOrder(body);
    const { order, orderToken } = JSON.parse(first);
    // The token follows from the creation of the order, not from the time of the call.
    expect(orderToken).toBe(await issueToken(shop, order.id, new Date(order.createTime)));
    await clientsWithOrderToken(shop, orderToken).orders.cancelOrder({ id: order.id });
    const repeated = first.replace('"replayed":false', '"replayed":true');
    expect(repeated).not.toBe(first);
    expect(await postOrder(body)).toBe(repeated);
    expect(await Promise.all(Array.from({ length: 5 }, () => postOrder(body)))).toEqual(
      Array(5).fill(repeated),
    );
  });

  test("a caller with another body and the same request_id gets neither the order nor its token", async () => {
    const requestId = randomUUID();
    const order = { items: [{ productId, quantity: 1n }], email: "a@example.com" };
    await shop.orders.createOrder({ requestId, order });
    for (const other of [
      { ...order, email: "b@example.com" },
      { ...order, email: "" },
      { ...order, items: [{ productId, quantity: 2n }] },
    ]) {
      const failure = await failureOf(shop.orders.createOrder({ requestId, order: other }));
      expect(failure).toMatchObject({ code: "InvalidArgument", reason: "REQUEST_ID_REUSED" });
    }
  });

  test("a service does not get the order of an anonymous caller with the same request and request_id", async () => {
    const service = clientsWithToken(shop, await createApiKey(admin, Scope.ORDERS_WRITE));
    const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
    const guest = await shop.orders.createOrder(request);
    const other = await service.orders.createOrder(request);
    expect([other.replayed, other.order?.id === guest.order?.id]).toEqual([false, false]);
    expect(other.orderToken).not.toBe(guest.orderToken);
  });
});

describe("a repeated CancelOrder of a guest", () => {
  test("the request_ids of two guests are apart", async () => {
    const [one, other] = [await placeGuestOrder(shop, productId), await placeGuestOrder(shop, productId)];
    const requestId = randomUUID();
    for (const { id, orderToken } of [one, other]) {
      const { orders } = clientsWithOrderToken(shop, orderToken);
      const first = await orders.cancelOrder({ id, requestId });
      expect(first.order?.id).toBe(id);
      expect(await orders.cancelOrder({ id, requestId })).toEqual(first);
    }
  });

  test("a caller without the token gets no response to an earlier request", async () => {
    const [one, other] = [await placeGuestOrder(shop, productId), await placeGuestOrder(shop, productId)];
    const cancellation = { id: one.id, requestId: randomUUID() };
    await clientsWithOrderToken(shop, one.orderToken).orders.cancelOrder(cancellation);
    const stranger = clientsWithOrderToken(shop, other.orderToken);
    expect(await failureOf(stranger.orders.cancelOrder(cancellation))).toMatchObject({ code: "NotFound" });
    expect(await failureOf(shop.orders.cancelOrder(cancellation))).toMatchObject({ code: "Unauthenticated" });
  });
});
