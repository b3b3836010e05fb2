import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { field as fieldPolicy, Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { methodPolicy } from "../../../../src/rpc/policy/method-policy.ts";
import { readServices } from "../../../support/contract/contract.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../../support/identity/test-accounts.ts";
import { type Clients, startShop, type TestShop } from "../../../support/shop.ts";
import { type AccessRow, type Caller, callers, OK } from "./access-row.ts";
import { catalogRows } from "./catalog-rows.ts";
import { customerRows } from "./customer-rows.ts";
import { identityRows } from "./identity-rows.ts";
import { operationsRows } from "./operations-rows.ts";
import { orderRows } from "./order-rows.ts";
import { paymentRows } from "./payment-rows.ts";
import { reviewRows } from "./review-rows.ts";
import { trackerRows } from "./tracker-rows.ts";
import { zoneRows } from "./zone-rows.ts";

/** A row for each method, `CatalogService/GetProduct`, and each field with a policy, after its method and a space. */
const table: Readonly<Record<string, AccessRow>> = {
  ...catalogRows,
  ...orderRows,
  ...zoneRows,
  ...paymentRows,
  ...trackerRows,
  ...customerRows,
  ...identityRows,
  ...reviewRows,
  ...operationsRows,
};

const methods = (await readServices()).flatMap((service) => service.methods);
const nameOf = (method: DescMethod) => `${method.parent.name}/${method.name}`;
const names = methods.flatMap((method) => [
  nameOf(method),
  ...method.input.fields
    .filter((field) => hasOption(field, fieldPolicy))
    .map((field) => `${nameOf(method)} ${field.name}`),
]);

let shop: TestShop;
let accounts: Record<"owner" | "otherCustomer" | "staff" | "admin", SignedInAccount>;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", PAYMENT_GATEWAY: "sandbox" });
  const [owner, otherCustomer, staff, admin] = await Promise.all([
    createAccount(shop),
    createAccount(shop),
    createAccount(shop, "STAFF"),
    createAccount(shop, "ADMIN"),
  ]);
  accounts = { owner, otherCustomer, staff, admin };
});
afterAll(() => shop.close());

/** Returns the clients of a caller. API keys are created with the given scope or without it. */
async function clientsFor(caller: Caller, scope: Scope): Promise<Clients> {
  switch (caller) {
    case "anonymous":
      return shop;
    case "keyWithScope":
      return clientsWithToken(shop, await createApiKey(accounts.admin, scope));
    case "keyWithoutScope": {
      const otherScope = scope === Scope.ORDERS_READ ? Scope.TRACKER_READ : Scope.ORDERS_READ;
      return clientsWithToken(shop, await createApiKey(accounts.admin, otherScope));
    }
    default:
      return accounts[caller];
  }
}

test("the table has a row for each method and each field with a policy, and no other row", () => {
  expect(Object.keys(table).sort()).toEqual(names.sort());
});

describe.each(Object.entries(table))("%s", (name, { outcomes, scope, prepare }) => {
  test.each(callers.map((caller) => ({ caller, outcome: outcomes[caller] })))(
    `${name} gives $outcome to $caller`,
    async ({ caller, outcome }) => {
      const send = await prepare(accounts);
      const actual = await send(await clientsFor(caller, scope)).then(
        () => OK,
        (error: unknown) => Code[ConnectError.from(error).code],
      );
      expect(actual).toBe(outcome);
    },
  );
});

test("the scopes of the table are those of the contract", () => {
  const scoped = methods.flatMap((method) => {
    const scope = methodPolicy(method)?.scope ?? Scope.UNSPECIFIED;
    return scope === Scope.UNSPECIFIED ? [] : [[nameOf(method), scope] as const];
  });
  expect(scoped.map(([name]) => [name, table[name]?.scope])).toEqual(scoped);
});
