import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { clientsWithToken, createAccount, createApiKey } from "../../../support/identity/test-accounts.ts";
import { clientsWithOrderToken, placeGuestOrder } from "../../../support/orders/guest-callers.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

/** Starts a shop that is closed when the test is over. */
async function openShop(env: Record<string, string>): Promise<TestShop> {
  const shop = await startShop({ ACCESS: "on", ...env });
  onTestFinished(() => shop.close());
  return shop;
}

test("while GUEST_CHECKOUT is off, anonymous callers place no orders, and tokens of existing orders are valid", async () => {
  const shop = await openShop({});
  const admin = await createAccount(shop, "ADMIN");
  const productId = await makeProduct(admin, { stock: 10n });
  const order = { items: [{ productId, quantity: 1n }] };
  expect(await failureOf(shop.orders.createOrder({ requestId: randomUUID(), order }))).toMatchObject({
    code: "Unauthenticated",
    reason: "SIGN_IN_REQUIRED",
  });
  // A till places an order for a guest.
  const till = clientsWithToken(shop, await createApiKey(admin, Scope.ORDERS_WRITE));
  const { id, orderToken } = await placeGuestOrder(till, productId);
  const guest = clientsWithOrderToken(shop, orderToken);
  expect((await guest.orders.getOrder({ id })).order?.id).toBe(id);
  expect(await failureOf(guest.orders.createOrder({ requestId: randomUUID(), order }))).toMatchObject({
    code: "Unauthenticated",
  });
});

test("the rate limits of anonymous callers apply to guests, whatever their token", async () => {
  // Units of an order and two further calls. The window is long, so that no unit is regained while the test runs.
  const shop = await openShop({ GUEST_CHECKOUT: "on", LIMITS: "on", LIMIT_WRITE: "7/3600" });
  const admin = await createAccount(shop, "ADMIN");
  const productId = await makeProduct(admin, { stock: 100n });
  const outcomes: string[] = [];
  const record = async (call: Promise<unknown>) => {
    outcomes.push(
      await call.then(
        () => "OK",
        (error: unknown) => Code[ConnectError.from(error).code] ?? "",
      ),
    );
  };
  const { id, orderToken } = await placeGuestOrder(shop, productId);
  for (const token of [orderToken, "x", orderToken]) {
    await record(clientsWithOrderToken(shop, token).orders.cancelOrder({ id }));
  }
  await record(
    shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } }),
  );
  expect(outcomes).toEqual(["OK", "NotFound", "ResourceExhausted", "ResourceExhausted"]);
});

test("an anonymous caller orders at most 100 units of a product", async () => {
  const shop = await openShop({ GUEST_CHECKOUT: "on" });
  const admin = await createAccount(shop, "ADMIN");
  const productId = await makeProduct(admin, { stock: 1_000n });
  const place = ({ orders }: Pick<TestShop, "orders">, quantities: readonly bigint[]) =>
    orders.createOrder({
      requestId: randomUUID(),
      order: { items: quantities.map((quantity) => ({ productId, quantity })) },
    });
  expect(await failureOf(place(shop, [60n, 41n]))).toMatchObject({
    code: "InvalidArgument",
    reason: "INVALID_FIELD",
    fields: ["order.items[1].quantity"],
  });
  expect((await place(shop, [60n, 40n])).order?.items[0]?.quantity).toBe(100n);
  // A till orders more for a guest.
  const till = clientsWithToken(shop, await createApiKey(admin, Scope.ORDERS_WRITE));
  expect((await place(till, [101n])).order?.items[0]?.quantity).toBe(101n);
});
