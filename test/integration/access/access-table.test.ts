import { type DescMethod, hasOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { field as fieldPolicy, Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { methodPolicy } from "../../../src/rpc/policy/method-policy.ts";
import { readServices } from "../../support/contract.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../support/identity/test-accounts.ts";
import { type Clients, startShop, type TestShop } from "../../support/shop.ts";
import { type Caller, callers, table, type World } from "./access-table.ts";

const methods = (await readServices()).flatMap((service) => service.methods);
const nameOf = (method: DescMethod) => `${method.parent.name}/${method.name}`;

/** Methods, and fields that not everyone may set. */
const expected = methods.flatMap((method) => [
  nameOf(method),
  ...method.input.fields
    .filter((field) => hasOption(field, fieldPolicy))
    .map((field) => `${nameOf(method)} ${field.name}`),
]);

let shop: TestShop;
let world: World;
let people: Record<"owner" | "other" | "staff" | "admin", SignedInAccount>;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  const [owner, other, staff, admin] = await Promise.all([
    createAccount(shop),
    createAccount(shop),
    createAccount(shop, "STAFF"),
    createAccount(shop, "ADMIN"),
  ]);
  people = { owner, other, staff, admin };
  world = { owner, admin };
});
afterAll(() => shop.close());

/** The clients of a caller; keys are made for the scope that the method wants, and for another. */
async function clientsFor(caller: Caller, scope: Scope): Promise<Clients> {
  if (caller === "anyone") return shop;
  if (caller !== "key" && caller !== "poorKey") return people[caller];
  const other = scope === Scope.ORDERS_READ ? Scope.TRACKER_READ : Scope.ORDERS_READ;
  return clientsWithToken(shop, await createApiKey(people.admin, caller === "key" ? scope : other));
}

test("each method, and each field with a policy, has a row and no other has one", () => {
  expect(Object.keys(table).sort()).toEqual(expected.sort());
});

describe.each(Object.entries(table))("%s", (_, { outcomes, scope, call }) => {
  test.each(callers)("called by: %s", async (caller) => {
    const make = await call(world);
    const outcome = await make(await clientsFor(caller, scope)).then(
      () => "ok",
      (error: unknown) => Code[ConnectError.from(error).code],
    );
    expect(outcome).toBe(outcomes[caller]);
  });
});

test("the scopes of the table are those of the contract", () => {
  const scopeOf = (method: DescMethod) => methodPolicy(method)?.scope;
  const declared = methods.filter((method) => scopeOf(method) !== Scope.UNSPECIFIED);
  expect(declared.map((method) => [nameOf(method), table[nameOf(method)]?.scope])).toEqual(
    declared.map((method) => [nameOf(method), scopeOf(method)]),
  );
});
