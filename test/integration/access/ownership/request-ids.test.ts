import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import {
  clientsWithToken,
  createAccount,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  admin = await createAccount(shop, "ADMIN");
});
afterEach(async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
});
afterAll(() => shop.close());

/** Returns clients with a new API key of a service account. */
async function createServiceClients(serviceAccount: string) {
  const scopes = [Scope.CATALOG_WRITE, Scope.ORDERS_WRITE];
  const { secret, apiKey } = await admin.identity.createApiKey({ apiKey: { serviceAccount, scopes } });
  return { ...clientsWithToken(shop, secret), keyId: apiKey?.id };
}

test("a request_id is valid for all API keys of a service account, and the audit log names the key", async () => {
  const oldKey = await createServiceClients("warehouse");
  const newKey = await createServiceClients("warehouse");
  const otherService = await createServiceClients("helpdesk");
  const productId = await makeProduct(admin, { stock: 10n });
  const request = { productId, delta: 5n, reason: StockReason.RECEIVED, requestId: randomUUID() };
  for (const { catalog } of [oldKey, newKey]) {
    const { product } = await catalog.adjustStock(request);
    expect(product?.stockQuantity).toBe(15n);
  }
  expect(await stockOf(shop, productId)).toBe(15n);
  await otherService.catalog.adjustStock(request);
  expect(await stockOf(shop, productId)).toBe(20n);
  const entries = await shop.database.query<{ actor: string }>(
    "select actor from audit_entry where method like '%/AdjustStock' order by id",
  );
  const actors = [oldKey, newKey, otherService].map(({ keyId }) => `service:${keyId}`);
  expect(entries.map(({ actor }) => actor)).toEqual(actors);
});

test("a guest's order is placed once, even when another API key of the service account repeats it", async () => {
  const oldKey = await createServiceClients("till");
  const newKey = await createServiceClients("till");
  const productId = await makeProduct(admin, { stock: 10n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const first = await oldKey.orders.createOrder(request);
  const second = await newKey.orders.createOrder(request);
  expect([first.replayed, second.replayed, second.order?.id]).toEqual([false, true, first.order?.id]);
  expect(await stockOf(shop, productId)).toBe(9n);
});

test("the same request_id of guest orders of two service accounts identifies two requests", async () => {
  const warehouse = await createServiceClients("warehouse");
  const till = await createServiceClients("till");
  const productId = await makeProduct(admin, { stock: 5n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const first = await warehouse.orders.createOrder(request);
  const second = await till.orders.createOrder(request);
  expect(second).toMatchObject({ replayed: false });
  expect(second.order?.id).not.toBe(first.order?.id);
  expect(await warehouse.orders.createOrder(request)).toMatchObject({
    replayed: true,
    order: { id: first.order?.id },
  });
  expect(await stockOf(shop, productId)).toBe(3n);
});
