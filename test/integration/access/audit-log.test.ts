import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImportMode } from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../support/identity/test-accounts.ts";
import { createHeader, createRows, toMessages } from "../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCategory, makeProduct } from "../../support/shop-fixtures.ts";
import { makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

let shop: TestShop;
let customer: SignedInAccount;
let staff: SignedInAccount;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [customer, staff, admin] = await Promise.all([
    createAccount(shop),
    createAccount(shop, "STAFF"),
    createAccount(shop, "ADMIN"),
  ]);
});
afterAll(() => shop.close());

interface AuditEntry {
  actor: string;
  role: string;
  method: string;
  request: string;
  client_address: string;
}

/** Returns the audit entries that are written while `work` runs. */
async function entriesOf(work: () => Promise<unknown>): Promise<AuditEntry[]> {
  const [last] = await shop.database.query<{ id: string | null }>(
    "select max(id::text) as id from audit_entry",
  );
  await work();
  return shop.database.query<AuditEntry>(
    "select actor, role, method, request, client_address from audit_entry where id::text > $1 order by id",
    [last?.id ?? ""],
  );
}

test("a change by staff is logged with its actor, role, method, request and client address", async () => {
  const id = await makeProduct(admin, { stock: 1n });
  const entries = await entriesOf(() => staff.catalog.updateProduct({ product: { id, name: "Green tea" } }));
  expect(entries).toEqual([
    {
      actor: `account:${staff.accountId}`,
      role: "STAFF",
      method: "cartwright.catalog.v1.CatalogService/UpdateProduct",
      request: JSON.stringify({ product: { id, name: "Green tea" } }),
      client_address: "127.0.0.1",
    },
  ]);
});

test("changes of zones by staff are logged", async () => {
  const entries = await entriesOf(async () => {
    const created = await staff.zones.createTaxZone({ taxZone: { countryCode: "DE" } });
    const id = created.taxZone?.id ?? "";
    await staff.zones.updateTaxZone({ taxZone: { id, region: "BY" } });
    await staff.zones.deleteTaxZone({ id });
  });
  const service = "cartwright.order.v1.ZoneService";
  expect(entries.map(({ actor, method }) => [actor, method])).toEqual(
    ["CreateTaxZone", "UpdateTaxZone", "DeleteTaxZone"].map((name) => [
      `account:${staff.accountId}`,
      `${service}/${name}`,
    ]),
  );
});

test("a change by another service is logged with its API key", async () => {
  const key = clientsWithToken(shop, await createApiKey(admin, Scope.CATALOG_WRITE));
  const entries = await entriesOf(() => makeCategory(key));
  expect(entries).toMatchObject([
    { actor: expect.stringMatching(/^service:[0-9a-f-]{36}$/), role: "SERVICE" },
  ]);
});

test("an import is logged with its header, and single purchase events are not logged", async () => {
  const slug = `c-${randomUUID().slice(0, 8)}`;
  await admin.catalog.createCategory({ category: { slug, name: slug } });
  const head = createHeader(ImportMode.INCREMENTAL);
  const imported = await entriesOf(() =>
    staff.catalog.importProducts(toMessages(head, createRows(slug, `${slug}-`, 2))),
  );
  expect(imported.length).toBeGreaterThan(0);
  expect(JSON.parse(imported.at(-1)?.request ?? "{}")).toEqual({
    requestId: head.requestId,
    mode: "IMPORT_MODE_INCREMENTAL",
  });
  const promotionId = await makePromotion(admin);
  const productId = await makeProduct(admin, { stock: 1n });
  const key = clientsWithToken(shop, await createApiKey(admin, Scope.TRACKER_WRITE));
  const purchase = purchaseOf(promotionId, productId);
  expect(await entriesOf(() => key.tracker.recordPurchase({ purchase }))).toEqual([]);
});

test("rejected, forbidden and validate-only changes and reads are not logged", async () => {
  const categoryId = await makeCategory(admin);
  const price = { currencyCode: "EUR", minorUnits: 1n };
  const product = { sku: randomUUID(), name: "Tea", categoryId, price };
  await admin.catalog.createProduct({ product });
  const entries = await entriesOf(async () => {
    expect(await failureOf(staff.catalog.createProduct({ product }))).toMatchObject({
      code: "AlreadyExists",
    });
    await staff.catalog.createProduct({ product: { ...product, sku: randomUUID() }, validateOnly: true });
    await failureOf(staff.identity.createApiKey({ apiKey: { serviceAccount: "x1", scopes: [1] } }));
    await staff.catalog.listProducts({ showDeleted: true });
  });
  expect(entries).toEqual([]);
});

test("changes of customers to their own resources are not logged", async () => {
  const productId = await makeProduct(admin, { stock: 1n });
  const order = { items: [{ productId, quantity: 1n }] };
  expect(await entriesOf(() => customer.orders.createOrder({ requestId: randomUUID(), order }))).toEqual([]);
});

test("logged requests hold no secrets and are truncated when they are long", async () => {
  const { password } = staff;
  const id = await makeProduct(admin, { stock: 1n });
  const description = "very long ".repeat(900);
  const entries = await entriesOf(async () => {
    await staff.identity.changePassword({ currentPassword: password, newPassword: `new ${password}` });
    await staff.catalog.updateProduct({ product: { id, description } });
  });
  const texts = entries.map(({ request }) => request);
  expect(texts.join()).not.toContain(password);
  expect(texts.at(-1)?.length).toBe(4_003);
});
