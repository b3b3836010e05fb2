import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import {
  clientsWithToken,
  createAccount,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";

let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

/** Clients by a new key of a service account. */
async function service(serviceAccount: string) {
  const scopes = [Scope.CATALOG_WRITE, Scope.ORDERS_WRITE];
  const { secret, apiKey } = await admin.identity.createApiKey({ apiKey: { serviceAccount, scopes } });
  return { ...clientsWithToken(shop, secret), keyId: apiKey?.id };
}

test("a request_id is honoured across the keys of a service account, and the audit names the key", async () => {
  const [old, next, other] = [
    await service("warehouse"),
    await service("warehouse"),
    await service("helpdesk"),
  ];
  const productId = await makeProduct(admin, { stock: 10n });
  const request = { productId, delta: 5n, reason: StockReason.RECEIVED, requestId: randomUUID() };
  for (const key of [old, next]) {
    const { product } = await key.catalog.adjustStock(request);
    expect(product?.stockQuantity).toBe(15n);
  }
  expect(await stockOf(shop, productId)).toBe(15n);
  // Another service is another caller.
  await other.catalog.adjustStock(request);
  expect(await stockOf(shop, productId)).toBe(20n);
  const noted = await shop.database.query<{ actor: string }>(
    "select actor from audit_entry where method like '%/AdjustStock' order by id",
  );
  expect(noted.map(({ actor }) => actor)).toEqual([old, next, other].map(({ keyId }) => `service:${keyId}`));
});

test("a guest's order is placed once by whichever key of a service account", async () => {
  const [old, next] = [await service("till"), await service("till")];
  const productId = await makeProduct(admin, { stock: 10n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const first = await old.orders.createOrder(request);
  const again = await next.orders.createOrder(request);
  expect([first.replayed, again.replayed, again.order?.id]).toEqual([false, true, first.order?.id]);
  expect(await stockOf(shop, productId)).toBe(9n);
});
