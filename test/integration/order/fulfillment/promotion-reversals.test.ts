import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { payOrder, placeOrder, placePaidOrder } from "../../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Creates a promotion of 2 purchases. */
async function createPromotion(): Promise<string> {
  const { promotion } = await shop.tracker.createPromotion({
    requestId: randomUUID(),
    promotion: { name: `Spring ${randomUUID()}`, purchaseLimit: 2n },
  });
  return promotion?.id ?? "";
}

/** Returns the purchases of a promotion, oldest first. */
const purchasesOf = (promotionId: string) =>
  shop.database.query<{ kind: string; counts: boolean; minor: number }>(
    `select kind, counts, amount_minor::int as minor from purchase
     where promotion_id = $1 order by created_at, event_id`,
    [promotionId],
  );

const cancel = (id: string, itemId: string, quantity: bigint) =>
  shop.orders.cancelOrderItems({ requestId: randomUUID(), id, items: [{ itemId, quantity }] });
const giveBack = (id: string, itemId: string, quantity: bigint) =>
  shop.orders.returnOrderItems({ requestId: randomUUID(), id, items: [{ itemId, quantity }] });

test("a paid order reverses the amounts of cancelled and returned units, and its purchase with the last one", async () => {
  const promotionId = await createPromotion();
  const { id } = await placePaidOrder(shop, [4n, 1n], { promotionId });
  expect(await failureOf(placeOrder(shop, [1n], { promotionId }))).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
  });
  await cancel(id, "1", 1n);
  await shop.orders.shipOrder({ requestId: randomUUID(), id });
  await giveBack(id, "1", 2n);
  expect(await failureOf(placeOrder(shop, [1n], { promotionId }))).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
  });
  await giveBack(id, "1", 1n);
  expect((await purchasesOf(promotionId)).slice(2)).toEqual([
    { kind: "REVERSAL", counts: false, minor: 1_000 },
    { kind: "REVERSAL", counts: false, minor: 2_000 },
    { kind: "REVERSAL", counts: true, minor: 1_000 },
  ]);
  await placeOrder(shop, [1n], { promotionId });
  expect(await failureOf(placeOrder(shop, [1n], { promotionId }))).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
  });
});

test("an unpaid order returns the limit of an item with its last unit, and sells what is left when it is paid", async () => {
  const promotionId = await createPromotion();
  const order = await placeOrder(shop, [3n, 2n], { promotionId });
  await cancel(order.id, "1", 2n);
  await cancel(order.id, "2", 1n);
  expect(await failureOf(placeOrder(shop, [1n], { promotionId }))).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
  });
  await cancel(order.id, "2", 1n);
  await placeOrder(shop, [1n], { promotionId });
  expect(await purchasesOf(promotionId)).toEqual([]);
  const { order: changed } = await shop.orders.getOrder({ id: order.id });
  if (changed === undefined) throw new Error("the order is missing");
  await payOrder(shop, changed);
  expect(await purchasesOf(promotionId)).toEqual([{ kind: "SALE", counts: true, minor: 1_000 }]);
  await cancel(order.id, "1", 1n);
  expect((await purchasesOf(promotionId)).slice(1)).toEqual([
    { kind: "REVERSAL", counts: true, minor: 1_000 },
  ]);
});
