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
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { makePromotion } from "../../support/tracker/promotion-fixtures.ts";

// The OWASP API Security Top 10 of 2023. access-table.test.ts checks API1, API3 and API5 on every method, and
// credentials/ checks API2; this file checks what single methods must hold.
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
  test("another customer's order is reported exactly like one that does not exist", async () => {
    const { id, productId } = await orderBy(ann);
    const unknownId = randomUUID();
    for (const call of ["getOrder", "cancelOrder"] as const) {
      const [foreign, absent] = await Promise.all([
        failureOf(bob.orders[call]({ id })),
        failureOf(bob.orders[call]({ id: unknownId })),
      ]);
      expect({ ...foreign, message: foreign.message.replace(id, unknownId) }).toEqual(absent);
    }
    expect(await stockOf(shop, productId)).toBe(4n);
  });

  test("a customer's list holds only their own orders, and page tokens of others are rejected", async () => {
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

  test("another customer's request_id does not return that customer's response", async () => {
    const { id } = await orderBy(ann);
    const requestId = randomUUID();
    await ann.orders.cancelOrder({ id, requestId });
    expect(await failureOf(bob.orders.cancelOrder({ id, requestId }))).toMatchObject({ code: "NotFound" });
  });

  test("another account's session is reported as not found", async () => {
    const { sessions } = await ann.identity.listSessions({});
    const id = sessions[0]?.id ?? "";
    expect(await failureOf(bob.identity.revokeSession({ id }))).toMatchObject({ code: "NotFound" });
    await ann.identity.getMe({});
  });
});

describe("API3: broken object property level authorization", () => {
  test("a caller cannot set their role or the price of an order", async () => {
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

  test("only staff can read deleted products, and these responses are not cached for others", async () => {
    const id = await makeProduct(admin, { stock: 1n });
    await admin.catalog.deleteProduct({ id });
    const message = encodeURIComponent(JSON.stringify({ id, showDeleted: true }));
    const url = `${shop.url}/cartwright.catalog.v1.CatalogService/GetProduct?connect=v1&encoding=json&message=${message}`;
    const asStaff = await fetch(url, { headers: { authorization: `Bearer ${staff.accessToken}` } });
    expect([asStaff.status, asStaff.headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect((await fetch(url)).status).toBe(401);
    expect(
      await failureOf(ann.catalog.getProduct({ key: { case: "id", value: id }, showDeleted: true })),
    ).toMatchObject({
      code: "PermissionDenied",
      fields: ["show_deleted"],
    });
  });

  test("no response holds a password, a hash or a secret", async () => {
    const responses = [
      await ann.identity.getMe({}),
      await ann.identity.listSessions({}),
      await admin.identity.listApiKeys({}),
      await admin.customers.listCustomers({}),
    ];
    const text = JSON.stringify(responses, (_, value) => (typeof value === "bigint" ? String(value) : value));
    for (const secret of ["argon2", ann.password, ann.refreshToken, ann.accessToken])
      expect(text).not.toContain(secret);
  });
});

describe("API4: unrestricted resource consumption", () => {
  test.each([
    ["A page", "catalog.v1.CatalogService/ListProducts", { pageSize: 101 }],
    [
      "A batch",
      "catalog.v1.CatalogService/BatchGetProducts",
      { ids: Array.from({ length: 101 }, () => randomUUID()) },
    ],
    [
      "A password",
      "identity.v1.IdentityService/SignIn",
      { email: "a@example.com", password: "x".repeat(10_000) },
    ],
    ["A query", "catalog.v1.CatalogService/ListProducts", { query: "x".repeat(10_000) }],
  ])("%s beyond its maximum size is rejected", async (_, path, body) => {
    const response = await post(path, JSON.stringify(body));
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining("invalid_argument"),
    ]);
  });

  test("a caller beyond the rate limit of their account is rejected with the header retry-after", async () => {
    const other = await startShop({
      ACCESS: "on",
      LIMITS: "on",
      LIMIT_READ: "10/3600",
      LIMIT_TIMES_SIGNED_IN: "2",
    });
    try {
      const eve = await createAccount(other);
      const calls = await Promise.allSettled(Array.from({ length: 30 }, () => eve.identity.getMe({})));
      expect(calls.filter(({ status }) => status === "fulfilled").length).toBe(20);
      const response = await fetch(`${other.url}/cartwright.identity.v1.IdentityService/GetMe`, {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json", authorization: `Bearer ${eve.accessToken}` },
      });
      expect([response.status, Number(response.headers.get("retry-after")) > 0]).toEqual([429, true]);
    } finally {
      await other.close();
    }
  });
});

describe("API5: broken function level authorization", () => {
  test("an API key is limited to its scopes and cannot call methods of accounts", async () => {
    const key = clientsWithToken(shop, await createApiKey(admin, Scope.ORDERS_READ));
    const { id } = await orderBy(ann);
    expect((await key.orders.getOrder({ id })).order?.id).toBe(id);
    expect(await failureOf(key.orders.cancelOrder({ id }))).toMatchObject({ reason: "SCOPE_MISSING" });
    expect(await failureOf(key.identity.getMe({}))).toMatchObject({ reason: "PEOPLE_ONLY" });
  });
});

describe("API6: unrestricted access to sensitive business flows", () => {
  test("a customer cannot exceed the purchase limit of a promotion by concurrent orders or in another customer's name", async () => {
    const productId = await makeProduct(admin, { stock: 100n });
    const promotionId = await makePromotion(admin, { purchaseLimitPerUser: 2n });
    const order = { promotionId, items: [{ productId, quantity: 1n }] };
    const attempts = Array.from({ length: 10 }, () =>
      ann.orders.createOrder({ requestId: randomUUID(), order }),
    );
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBe(2);
    const asBob = ann.orders.createOrder({
      requestId: randomUUID(),
      order: { ...order, customerId: bob.customerId },
    });
    expect(await failureOf(asBob)).toMatchObject({ code: "PermissionDenied", reason: "NOT_YOURS" });
  });

  test("an order that staff places for a customer belongs to the customer and is in the audit log", async () => {
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

test("API7: server side request forgery: a URL that a caller sends is never fetched", async () => {
  let requestCount = 0;
  const imageServer = createServer((_, response) => {
    requestCount += 1;
    response.end();
  }).listen(0, "127.0.0.1");
  try {
    const address = imageServer.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const id = await makeProduct(admin, { stock: 1n });
    await admin.catalog.updateProduct({ product: { id, imageUri: `http://127.0.0.1:${port}/image.png` } });
    await shop.catalog.getProduct({ key: { case: "id", value: id } });
    expect(requestCount).toBe(0);
  } finally {
    imageServer.close();
  }
});

describe("API8: security misconfiguration", () => {
  test("a page of an origin that is not allowed cannot read responses", async () => {
    const response = await post("catalog.v1.CatalogService/ListBrands", "{}", {
      origin: "https://evil.example",
    });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("errors reveal no SQL, no database and no stack", async () => {
    const response = await post("order.v1.OrderService/GetOrder", '{"id": "x\' or 1=1 --"}', {
      authorization: `Bearer ${ann.accessToken}`,
    });
    expect(await response.text()).not.toMatch(/select|postgres|at .*\.ts/i);
  });
});

test("API9: improper inventory management: reflection lists every service and no other", async () => {
  const shopServices = [
    "catalog",
    "customer",
    "identity",
    "operations",
    "order",
    "payment",
    "review",
    "tracker",
  ].map((noun) => `cartwright.${noun}.v1.${noun[0]?.toUpperCase()}${noun.slice(1)}Service`);
  shopServices.push("cartwright.order.v1.ZoneService");
  const standardServices = [Health, ServerReflection, ServerReflectionAlpha].map(({ typeName }) => typeName);
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: shop.url }));
  const listRequest = { messageRequest: { case: "listServices", value: "" } } as const;
  const responses = client.serverReflectionInfo(
    (async function* () {
      yield listRequest;
    })(),
  );
  const listed: string[] = [];
  for await (const { messageResponse } of responses) {
    if (messageResponse.case !== "listServicesResponse") throw new Error(messageResponse.case);
    listed.push(...messageResponse.value.service.map(({ name }) => name));
  }
  expect(listed.sort()).toEqual([...shopServices, ...standardServices].sort());
});

test("API10: unsafe consumption of APIs: the calls of this file leave all invariants intact", async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
});
