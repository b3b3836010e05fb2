import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { createAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  // The window is long, so that no unit is regained while the test runs.
  shop = await startShop({ ACCESS: "on", LIMITS: "on", GUEST_CHECKOUT: "on", LIMIT_WRITE: "14/3600" });
});
afterAll(() => shop.close());

test("an order costs an anonymous caller five units, and an account at the same address one", async () => {
  const [admin, customer] = [await createAccount(shop, "ADMIN"), await createAccount(shop)];
  const productId = await makeProduct(admin, { stock: 100n });
  const order = { items: [{ productId, quantity: 1n }] };
  const limits = async (clients: Pick<TestShop, "orders">) => {
    let remaining: string | null = null;
    await clients.orders.createOrder(
      { requestId: randomUUID(), order },
      {
        onHeader: (headers) => {
          remaining = headers.get("ratelimit-remaining");
        },
      },
    );
    return remaining;
  };
  expect([await limits(shop), await limits(shop)]).toEqual(["9", "4"]);
  expect(await failureOf(limits(shop))).toMatchObject({
    code: "ResourceExhausted",
    reason: "RATE_LIMITED",
    message: expect.stringMatching(/^Rate limit exceeded: 14 writes an hour/),
  });
  const [first, second] = [await limits(customer), await limits(customer)];
  expect(Number(first) - Number(second)).toBe(1);
});
