import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { anonymous, type Principal, type Role } from "../../../../src/kernel/principal.ts";
import { createOrderAccess } from "../../../../src/order/guest/order-access.ts";
import { createOrderTokens } from "../../../../src/order/guest/order-token.ts";
import { openWatchHub, sequencesOf } from "../../../support/orders/watch/watch-hub.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";

const createTime = new Date("2026-11-01T00:00:00Z");
/** After the 180 days for which order tokens are valid. */
const tooLate = new Date("2027-06-01T00:00:00Z");
const tokens = createOrderTokens([{ id: "1", validFrom: createTime, secret: Buffer.alloc(32, 1) }]);

const account = (role: Role): Principal => ({
  kind: "account",
  accountId: "3f1c9a52-6a3e-4d0f-9a35-0c6f8c1d2e01",
  customerId: "3f1c9a52-6a3e-4d0f-9a35-0c6f8c1d2e02",
  role,
  sessionId: "3f1c9a52-6a3e-4d0f-9a35-0c6f8c1d2e03",
});

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

/** Places an order and opens a hub with the access control of the service, at times that the test sets. */
async function openHub() {
  const clock = { now: () => createTime };
  const hub = await openWatchHub(shop.database.url, createOrderAccess({ tokens, clock }));
  const productId = await makeProduct(shop, { stock: 10n });
  const order = { items: [{ productId, quantity: 1n }] };
  const { order: placed } = await shop.orders.createOrder({ requestId: randomUUID(), order });
  return { ...hub, clock, id: placed?.id ?? "" };
}

test("a watch ends before the next update when its caller has another role", async () => {
  const { id, watch, changer, announce, subscriptionCount } = await openHub();
  const caller = { principal: account("STAFF"), orderToken: "" };
  const one = watch(id, 0, caller);
  expect(sequencesOf(await one.next())).toEqual([1]);
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  caller.principal = account("ADMIN");
  expect(sequencesOf(await one.next()), "an admin has the access of staff").toEqual([2]);
  const next = one.next();
  caller.principal = account("CUSTOMER");
  await changer.change(id);
  announce({ orderId: id, sequence: 3 });
  await expect(next).rejects.toMatchObject({ code: "aborted", details: { reason: "ACCESS_CHANGED" } });
  expect(subscriptionCount()).toBe(0);
});

test("a watch by an order token ends before the next update when the token has expired", async () => {
  const { id, watch, changer, announce, clock } = await openHub();
  const orderToken = tokens.issue(id, createTime);
  const guest = watch(id, 0, { principal: anonymous, orderToken });
  const customer = watch(id, 0, { principal: account("CUSTOMER"), orderToken });
  for (const one of [guest, customer]) expect(sequencesOf(await one.next())).toEqual([1]);
  const ends = [guest.next(), customer.next()];
  clock.now = () => tooLate;
  await changer.change(id);
  announce({ orderId: id, sequence: 2 });
  const [ofGuest, ofCustomer] = await Promise.allSettled(ends);
  expect(ofGuest).toMatchObject({ reason: { code: "not_found" } });
  expect(ofCustomer).toMatchObject({ reason: { code: "aborted" } });
});
