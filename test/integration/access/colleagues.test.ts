import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { as, enrol, makeKey, type Person } from "../../support/people.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

// Whoever could change the email of an admin's customer would be halfway to being that admin.
let shop: TestShop;
let bob: Person;
let staff: Person;
let admin: Person;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [bob, staff, admin] = await Promise.all([enrol(shop), enrol(shop, "STAFF"), enrol(shop, "ADMIN")]);
});
afterAll(() => shop.close());

test("staff changes customers, and nobody who works in the shop: not their email, not that they are there", async () => {
  const { customerId: id } = admin;
  const service = as(shop, await makeKey(admin, Scope.CUSTOMERS_WRITE));
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
