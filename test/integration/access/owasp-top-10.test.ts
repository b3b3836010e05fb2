import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Role } from "../../../gen/cartwright/identity/v1/identity_pb.ts";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { failureOf } from "../../support/errors.ts";
import {
  clientsWithToken,
  createAccount,
  createApiKey,
  type SignedInAccount,
} from "../../support/identity/test-accounts.ts";
import { breaches } from "../../support/invariants.ts";
import { makePromotion } from "../../support/promotions.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, stockOf } from "../../support/shop-fixtures.ts";

// The OWASP API Security Top 10 of 2023, each with what a caller would try here. What concerns all methods at once
// (API1, API3 and API5) is tried on each of them in table.test.ts, and what tells who calls (API2) in
// credentials.test.ts; here is what they have in particular.
let shop: TestShop;
let ann: SignedInAccount;
let bob: SignedInAccount;
let staff: SignedInAccount;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [ann, bob, staff, admin] = await Promise.all([
    createAccount(shop),
    createAccount(shop),
    createAccount(shop, "STAFF"),
    createAccount(shop, "ADMIN"),
  ]);
});
afterAll(() => shop.close());

const orderBy = async (person: SignedInAccount, more: { customerId?: string } = {}) => {
  const productId = await makeProduct(admin, { stock: 5n });
  const { order } = await person.orders.createOrder({
    requestId: randomUUID(),
    order: { ...more, items: [{ productId, quantity: 1n }] },
  });
  return { id: order?.id ?? "", customerId: order?.customerId ?? "", productId };
};
const post = (path: string, body: string, headers: Record<string, string> = {}) =>
  fetch(`${shop.url}/cartwright.${path}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", ...headers },
  });

describe("API1: broken object level authorization", () => {
  test("somebody else's order is as absent as one that never was, to read and to cancel", async () => {
    const { id, productId } = await orderBy(ann);
    const never = randomUUID();
    for (const call of ["getOrder", "cancelOrder"] as const) {
      const [foreign, absent] = await Promise.all([
        failureOf(bob.orders[call]({ id })),
        failureOf(bob.orders[call]({ id: never })),
      ]);
      expect({ ...foreign, message: foreign.message.replace(id, never) }).toEqual(absent);
    }
    expect(await stockOf(shop, productId)).toBe(4n);
  });

  test("a customer's list holds their own orders, whatever page token they bring", async () => {
    await Promise.all([orderBy(ann), orderBy(ann), orderBy(bob)]);
    const { orders, nextPageToken } = await ann.orders.listOrders({ pageSize: 1 });
    expect(orders.map(({ customerId }) => customerId)).toEqual([ann.customerId]);
    expect(await failureOf(bob.orders.listOrders({ pageSize: 1, pageToken: nextPageToken }))).toMatchObject({
      code: "InvalidArgument",
      reason: "PAGE_TOKEN_INVALID",
    });
    const { orders: bobs } = await bob.orders.listOrders({ pageSize: 100 });
    expect(new Set(bobs.map(({ customerId }) => customerId))).toEqual(new Set([bob.customerId]));
  });

  test("a request_id of somebody else does not bring their answer", async () => {
    const { id } = await orderBy(ann);
    const requestId = randomUUID();
    await ann.orders.cancelOrder({ id, requestId });
    expect(await failureOf(bob.orders.cancelOrder({ id, requestId }))).toMatchObject({ code: "NotFound" });
  });

  test("somebody else's session is as absent as one that never was", async () => {
    const { sessions } = await ann.identity.listSessions({});
    const id = sessions[0]?.id ?? "";
    expect(await failureOf(bob.identity.revokeSession({ id }))).toMatchObject({ code: "NotFound" });
    await ann.identity.getMe({});
  });
});

describe("API3: broken object property level authorization", () => {
  test("what the server sets cannot be set: not the role, not the price, not the state", async () => {
    const register = await post(
      "identity.v1.IdentityService/Register",
      JSON.stringify({
        email: `${randomUUID()}@example.com`,
        name: "Eve",
        password: "long enough",
        role: "ROLE_ADMIN",
      }),
    );
    expect(register.status).toBe(400);
    const { role } = (await ann.identity.getMe({})).account ?? {};
    expect(role).toBe(Role.CUSTOMER);
    const productId = await makeProduct(admin, { stock: 5n, minorUnits: 1_000n });
    const { order } = await ann.orders.createOrder({
      requestId: randomUUID(),
      order: {
        items: [{ productId, quantity: 1n, unitPrice: { currencyCode: "EUR", minorUnits: 1n } }],
        totalPrice: { currencyCode: "EUR", minorUnits: 1n },
      },
    });
    expect(order?.totalPrice?.minorUnits).toBe(1_000n);
  });

  test("deleted products are for staff, and what staff was shown is not kept for others", async () => {
    const id = await makeProduct(admin, { stock: 1n });
    await admin.catalog.deleteProduct({ id });
    const message = encodeURIComponent(JSON.stringify({ id, showDeleted: true }));
    const url = `${shop.url}/cartwright.catalog.v1.CatalogService/GetProduct?connect=v1&encoding=json&message=${message}`;
    const shown = await fetch(url, { headers: { authorization: `Bearer ${staff.accessToken}` } });
    expect([shown.status, shown.headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect((await fetch(url)).status).toBe(401);
    expect(
      await failureOf(ann.catalog.getProduct({ key: { case: "id", value: id }, showDeleted: true })),
    ).toMatchObject({
      code: "PermissionDenied",
      fields: ["show_deleted"],
    });
  });

  test("no answer holds a password, a hash or a secret", async () => {
    const answers = [
      await ann.identity.getMe({}),
      await ann.identity.listSessions({}),
      await admin.identity.listApiKeys({}),
      await admin.customers.listCustomers({}),
    ];
    const text = JSON.stringify(answers, (_, value) => (typeof value === "bigint" ? String(value) : value));
    for (const secret of ["argon2", ann.password, ann.refreshToken, ann.accessToken])
      expect(text).not.toContain(secret);
  });
});

describe("API4: unrestricted resource consumption", () => {
  test.each([
    ["a page", "catalog.v1.CatalogService/ListProducts", { pageSize: 101 }],
    [
      "a batch",
      "catalog.v1.CatalogService/BatchGetProducts",
      { ids: Array.from({ length: 101 }, () => randomUUID()) },
    ],
    [
      "a password",
      "identity.v1.IdentityService/SignIn",
      { email: "a@example.com", password: "x".repeat(10_000) },
    ],
    ["a query", "catalog.v1.CatalogService/ListProducts", { query: "x".repeat(10_000) }],
  ])("%s past its bound is refused", async (_, path, body) => {
    const response = await post(path, JSON.stringify(body));
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining("invalid_argument"),
    ]);
  });

  test("a caller who calls too often is refused, by account wherever they call from", async () => {
    const other = await startShop({
      ACCESS: "on",
      LIMITS: "on",
      LIMIT_READ: "10/60",
      LIMIT_TIMES_SIGNED_IN: "2",
    });
    try {
      const eve = await createAccount(other);
      const calls = await Promise.allSettled(Array.from({ length: 30 }, () => eve.identity.getMe({})));
      expect(calls.filter(({ status }) => status === "fulfilled").length).toBe(20);
      const response = await fetch(`${other.url}/cartwright.identity.v1.IdentityService/GetMe`, {
        ...{ method: "POST", body: "{}" },
        headers: { "content-type": "application/json", authorization: `Bearer ${eve.accessToken}` },
      });
      expect([response.status, Number(response.headers.get("retry-after")) > 0]).toEqual([429, true]);
    } finally {
      await other.close();
    }
  });
});

describe("API5: broken function level authorization", () => {
  test("an API key is good for its scopes and for no account's things", async () => {
    const key = clientsWithToken(shop, await createApiKey(admin, Scope.ORDERS_READ));
    const { id } = await orderBy(ann);
    expect((await key.orders.getOrder({ id })).order?.id).toBe(id);
    expect(await failureOf(key.orders.cancelOrder({ id }))).toMatchObject({ reason: "SCOPE_MISSING" });
    expect(await failureOf(key.identity.getMe({}))).toMatchObject({ reason: "PEOPLE_ONLY" });
  });
});

describe("API6: unrestricted access to sensitive business flows", () => {
  test("no customer buys more of a promotion than one may, under whatever name they order", async () => {
    const productId = await makeProduct(admin, { stock: 100n });
    const promotionId = await makePromotion(admin, { purchaseLimitPerUser: 2n });
    const order = { promotionId, items: [{ productId, quantity: 1n }] };
    const tries = Array.from({ length: 10 }, () =>
      ann.orders.createOrder({ requestId: randomUUID(), order }),
    );
    const outcomes = await Promise.allSettled(tries);
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBe(2);
    const asBob = ann.orders.createOrder({
      requestId: randomUUID(),
      order: { ...order, customerId: bob.customerId },
    });
    expect(await failureOf(asBob)).toMatchObject({ code: "PermissionDenied", reason: "NOT_YOURS" });
  });

  test("staff orders for a customer, and it is theirs and noted", async () => {
    const customerId = await makeCustomer(admin);
    const order = await orderBy(staff, { customerId });
    expect(order.customerId).toBe(customerId);
    const rows = await shop.database.query<{ actor: string; role: string; method: string; request: string }>(
      "select actor, role, method, request from audit_entry where actor = $1 order by id desc limit 1",
      [`account:${staff.accountId}`],
    );
    expect(rows[0]).toMatchObject({ role: "STAFF", method: "cartwright.order.v1.OrderService/CreateOrder" });
    expect(JSON.parse(rows[0]?.request ?? "{}").order.customerId).toBe(customerId);
  });
});

test("API7: server side request forgery: what a caller sends is never fetched", async () => {
  let asked = 0;
  const trap = createServer((_, response) => {
    asked += 1;
    response.end();
  }).listen(0, "127.0.0.1");
  try {
    const address = trap.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const id = await makeProduct(admin, { stock: 1n });
    await admin.catalog.updateProduct({ product: { id, imageUri: `http://127.0.0.1:${port}/image.png` } });
    await shop.catalog.getProduct({ key: { case: "id", value: id } });
    expect(asked).toBe(0);
  } finally {
    trap.close();
  }
});

describe("API8: security misconfiguration", () => {
  test("no page of another origin may read answers unless it is listed", async () => {
    const response = await post("catalog.v1.CatalogService/ListBrands", "{}", {
      origin: "https://evil.example",
    });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("errors tell nothing of what is inside", async () => {
    const response = await post("order.v1.OrderService/GetOrder", '{"id": "x\' or 1=1 --"}', {
      authorization: `Bearer ${ann.accessToken}`,
    });
    expect(await response.text()).not.toMatch(/select|postgres|at .*\.ts/i);
  });
});

test("API9: improper inventory management: reflection tells of every service, and of no other", async () => {
  const ours = ["catalog", "customer", "identity", "order", "review", "tracker"].map(
    (noun) => `cartwright.${noun}.v1.${noun[0]?.toUpperCase()}${noun.slice(1)}Service`,
  );
  const theirs = [Health, ServerReflection, ServerReflectionAlpha].map(({ typeName }) => typeName);
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: shop.url }));
  const question = { messageRequest: { case: "listServices", value: "" } } as const;
  const answers = client.serverReflectionInfo(
    (async function* () {
      yield question;
    })(),
  );
  const listed: string[] = [];
  for await (const { messageResponse } of answers) {
    if (messageResponse.case !== "listServicesResponse") throw new Error(messageResponse.case);
    listed.push(...messageResponse.value.service.map(({ name }) => name));
  }
  expect(listed.sort()).toEqual([...ours, ...theirs].sort());
});

test("API10: unsafe consumption of APIs: the shop asks no others, and what was sent above has left its books whole", async () => {
  expect(await breaches(shop.database.url)).toEqual([]);
});
