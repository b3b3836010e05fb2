import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OrderActor } from "../../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType, PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { clientsWithOrderToken, issueToken, placeGuestOrder } from "../../../support/orders/guest-callers.ts";
import { type Clients, startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct, stockOf } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
let admin: SignedInAccount;
let customer: SignedInAccount;
let productId: string;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", GUEST_CHECKOUT: "on" });
  [admin, customer] = await Promise.all([createAccount(shop, "ADMIN"), createAccount(shop)]);
  productId = await makeProduct(admin, { stock: 1_000n });
});
afterAll(async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
  await shop.close();
});

const items = () => [{ productId, quantity: 1n }];
const DAY_MS = 86_400_000;

/** The calls that an order token permits. */
const calls: [name: string, call: (clients: Clients, id: string) => Promise<unknown>][] = [
  ["GetOrder", ({ orders }, id) => orders.getOrder({ id })],
  ["ListOrderEvents", ({ orders }, id) => orders.listOrderEvents({ id })],
  ["ListFulfillments", ({ orders }, id) => orders.listFulfillments({ id })],
  ["ListRefunds", ({ orders }, id) => orders.listRefunds({ id })],
  ["WatchOrder", ({ orders }, id) => firstOf(orders.watchOrder({ id }))],
  ["CancelOrder", ({ orders }, id) => orders.cancelOrder({ id })],
];

/** Returns the first message of a watch, and ends it. */
async function firstOf<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new Error("the watch has ended without a message");
}

test("a guest places an order, reads it and its history, and cancels it with its token", async () => {
  const stock = await stockOf(shop, productId);
  const { order, orderToken } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: items(), email: "guest@example.com" },
  });
  const id = order?.id ?? "";
  expect([order?.customerId, order?.email]).toEqual(["", "guest@example.com"]);
  for (const { orders } of [
    clientsWithOrderToken(shop, orderToken),
    clientsWithOrderToken(shop, orderToken).json,
  ]) {
    expect((await orders.getOrder({ id })).order).toMatchObject({ id, state: OrderState.PENDING });
    expect((await orders.getOrder({ id: id.toUpperCase() })).order?.id).toBe(id);
  }
  const { orders } = clientsWithOrderToken(shop, orderToken);
  expect((await orders.cancelOrder({ id })).order?.state).toBe(OrderState.CANCELLED);
  const { events } = await orders.listOrderEvents({ id });
  expect(events.map(({ type }) => type)).toEqual([OrderEventType.PLACED, OrderEventType.CANCELLED]);
  expect(await stockOf(shop, productId)).toBe(stock);
});

describe.each(calls)("%s of a guest's order", (_, call) => {
  test("a caller without a token is UNAUTHENTICATED, and one with a wrong token gets NOT_FOUND as for a missing order", async () => {
    const [one, other] = [await placeGuestOrder(shop, productId), await placeGuestOrder(shop, productId)];
    expect(await failureOf(call(shop, one.id))).toMatchObject({
      code: "Unauthenticated",
      reason: "SIGN_IN_REQUIRED",
    });
    const wrong = {
      "another order's": other.orderToken,
      expired: await issueToken(shop, one.id, new Date(Date.now() - 181 * DAY_MS)),
      truncated: one.orderToken.slice(0, -1),
      forged: one.orderToken.replace(/[^.]+$/, "A".repeat(43)),
      extended: one.orderToken.replace(/\.(\d+)\./, (_, expiry) => `.${Number(expiry) + 1}.`),
      "no token": "x",
      "very long": "1".repeat(4_000),
    };
    const missing = randomUUID();
    const { message } = await failureOf(call(clientsWithOrderToken(shop, one.orderToken), missing));
    for (const [name, token] of Object.entries(wrong)) {
      const failure = await failureOf(call(clientsWithOrderToken(shop, token), one.id));
      expect([name, failure.code, failure.reason]).toEqual([name, "NotFound", "ORDER_NOT_FOUND"]);
      expect(failure.message).toBe(message.replace(missing, one.id));
    }
    // A token of the same order that was issued a little earlier has another expiry, and is valid.
    const valid = await issueToken(shop, one.id, new Date(Date.now() - 179 * DAY_MS));
    await call(clientsWithOrderToken(shop, valid), one.id);
  });

  test("a signed-in customer needs the token of a guest's order, and none for an order of their own", async () => {
    const guest = await placeGuestOrder(shop, productId);
    expect(await failureOf(call(customer, guest.id))).toMatchObject({ code: "NotFound" });
    await call(clientsWithOrderToken(shop, guest.orderToken, customer.accessToken), guest.id);
    const { order } = await customer.orders.createOrder({
      requestId: randomUUID(),
      order: { items: items() },
    });
    await call(clientsWithOrderToken(shop, guest.orderToken, customer.accessToken), order?.id ?? "");
  });

  test("staff need no token, and a wrong one changes nothing", async () => {
    const { id } = await placeGuestOrder(shop, productId);
    await call(clientsWithOrderToken(shop, "x", admin.accessToken), id);
  });
});

test("the refunds that a guest reads have no references and no reasons of failures", async () => {
  const { id, orderToken } = await placeGuestOrder(shop, productId);
  const amount = (await admin.orders.getOrder({ id })).order?.amountDue;
  if (amount === undefined) throw new Error("the order has no amount due");
  const payment = { id, requestId: randomUUID(), method: PaymentMethod.CASH, reference: "receipt 7" };
  await admin.orders.markOrderPaid({ ...payment, amount });
  const request = { id, requestId: randomUUID(), reference: "transfer 8", reason: "damaged" };
  const { refund } = await admin.orders.refundOrder({
    ...request,
    subject: { case: "amount", value: amount },
  });
  await shop.database.query("update refund set failure = 'refused by the bank' where id = $1", [refund?.id]);
  const readBy = async ({ orders }: Clients) => (await orders.listRefunds({ id })).refunds;
  const fields = { id: refund?.id, amount, reason: "damaged" };
  expect(await readBy(admin)).toMatchObject([
    { ...fields, reference: "transfer 8", failure: "refused by the bank" },
  ]);
  expect(await readBy(clientsWithOrderToken(shop, orderToken))).toMatchObject([
    { ...fields, reference: "", failure: "" },
  ]);
  expect(await failureOf(readBy(customer))).toMatchObject({ code: "NotFound", reason: "ORDER_NOT_FOUND" });
});

test("the history that a guest reads has no names of staff and no references of payments", async () => {
  const { id, orderToken } = await placeGuestOrder(shop, productId);
  const payment = { id, requestId: randomUUID(), method: PaymentMethod.CASH, reference: "receipt 7" };
  await admin.orders.markOrderPaid({ ...payment, amount: { currencyCode: "EUR", minorUnits: 1_000n } });
  const historyOf = async ({ orders }: Clients) => (await orders.listOrderEvents({ id })).events.at(-1);
  expect(await historyOf(admin)).toMatchObject({
    actorId: `account:${admin.accountId}`,
    paymentReference: "receipt 7",
  });
  expect(await historyOf(clientsWithOrderToken(shop, orderToken))).toMatchObject({
    type: OrderEventType.PAID,
    actorId: "",
    paymentReference: "",
  });
});

test("a guest's order records a change by its token as that of a guest, also of a signed-in customer", async () => {
  const [anonymous, signedIn] = [
    await placeGuestOrder(shop, productId),
    await placeGuestOrder(shop, productId),
  ];
  await clientsWithOrderToken(shop, anonymous.orderToken).orders.cancelOrder({ id: anonymous.id });
  const holder = clientsWithOrderToken(shop, signedIn.orderToken, customer.accessToken);
  await holder.orders.cancelOrder({ id: signedIn.id });
  const { order: own } = await customer.orders.createOrder({
    requestId: randomUUID(),
    order: { items: items() },
  });
  await customer.orders.cancelOrder({ id: own?.id ?? "" });
  const actorsOf = async (id = "") =>
    (await admin.orders.listOrderEvents({ id })).events.map(({ actor }) => actor);
  expect(await actorsOf(anonymous.id)).toEqual([OrderActor.GUEST, OrderActor.GUEST]);
  expect(await actorsOf(signedIn.id)).toEqual([OrderActor.GUEST, OrderActor.GUEST]);
  expect(await actorsOf(own?.id)).toEqual([OrderActor.CUSTOMER, OrderActor.CUSTOMER]);
});

test("an order token permits no other method", async () => {
  const { id, orderToken } = await placeGuestOrder(shop, productId);
  const { orders, customers } = clientsWithOrderToken(shop, orderToken);
  const denied = [
    orders.listOrders({}),
    orders.markOrderPaid({
      id,
      requestId: randomUUID(),
      method: PaymentMethod.CASH,
      reference: "receipt",
      amount: { currencyCode: "EUR", minorUnits: 1_000n },
    }),
    customers.listCustomers({}),
  ];
  for (const call of denied) expect(await failureOf(call)).toMatchObject({ code: "Unauthenticated" });
});

test("a guest cannot order for a customer", async () => {
  const order = { customerId: customer.customerId, items: items() };
  const call = shop.orders.createOrder({ requestId: randomUUID(), order });
  expect(await failureOf(call)).toMatchObject({ code: "Unauthenticated" });
});

test("only orders without a customer have a token", async () => {
  const create = async ({ orders }: Clients, { customerId = "", validateOnly = false } = {}) =>
    (
      await orders.createOrder({
        requestId: randomUUID(),
        order: { customerId, items: items() },
        validateOnly,
      })
    ).orderToken;
  // Staff are customers too, and their own orders are those of a customer.
  expect(await create(customer)).toBe("");
  expect(await create(admin)).toBe("");
  expect(await create(admin, { customerId: customer.customerId })).toBe("");
  expect(await create(shop, { validateOnly: true })).toBe("");
  expect(await create(shop)).toMatch(/^0\.\d+\.[\w-]{43}$/);
});
