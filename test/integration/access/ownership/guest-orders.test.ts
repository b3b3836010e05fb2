import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { clientsWithToken, createAccount, createApiKey } from "../../../support/identity/test-accounts.ts";
import { breaches } from "../../../support/invariants.ts";
import { startShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

test("guests of two services are not each other, though they use one request_id", async () => {
  const shop = await startShop({ ACCESS: "on" });
  try {
    const admin = await createAccount(shop, "ADMIN");
    const productId = await makeProduct(admin, { stock: 5n });
    const scopes = [Scope.ORDERS_WRITE];
    const one = await createApiKey(admin, ...scopes);
    const { secret: other } = await admin.identity.createApiKey({
      apiKey: { serviceAccount: "till", scopes },
    });
    const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
    await clientsWithToken(shop, one).orders.createOrder(request);
    expect((await clientsWithToken(shop, one).orders.createOrder(request)).replayed).toBe(true);
    expect(await failureOf(clientsWithToken(shop, other).orders.createOrder(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "REQUEST_ID_REUSED",
    });
    expect(await breaches(shop.database.url)).toEqual([]);
  } finally {
    await shop.close();
  }
});
