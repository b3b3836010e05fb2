import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

// Whoever could change the email of an admin's customer would be halfway to being that admin.
let shop: TestShop;
let bob: SignedInAccount;
let staff: SignedInAccount;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [bob, staff, admin] = await Promise.all([
    createAccount(shop),
    createAccount(shop, "STAFF"),
    createAccount(shop, "ADMIN"),
  ]);
});
afterAll(() => shop.close());

test("staff changes customers, and nobody who works in the shop: not their email, not that they are there", async () => {
  const { customerId: id } = admin;
  const service = clientsWithToken(shop, await createApiKey(admin, Scope.CUSTOMERS_WRITE));
  const grabs = [
    staff.customers.updateCustomer({ customer: { id, email: `${randomUUID()}@example.com` } }),
    staff.customers.deleteCustomer({ id }),
    staff.customers.deleteCustomer({ id: staff.customerId }),
    service.customers.deleteCustomer({ id }),
  ];
  for (const failure of await Promise.all(grabs.map(failureOf))) {
    expect(failure).toMatchObject({ code: "PermissionDenied", reason: "ADMIN_ONLY" });
  }
  await admin.identity.getMe({});
  await staff.customers.updateCustomer({ customer: { id: bob.customerId, name: "Bob" } });
  await admin.customers.updateCustomer({ customer: { id: staff.customerId, name: "Sam" } });
});
