import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { PurchaseKind } from "../../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { entities } from "../../../src/entities.ts";
import { type Database, openPostgres, type Tx } from "../../../src/infra/postgres/postgres.ts";
import { violatesConstraint } from "../../../src/infra/postgres/postgres-errors.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { createTracker, type OrderReversal, type Tracker } from "../../../src/tracker/tracker.ts";
import { silentLog } from "../../support/log.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

const userId = "ann";

let shop: TestShop;
let db: Database;
let tracker: Tracker;
let productId: string;
let otherId: string;
let promotionId: string;
let orderId: string;
beforeAll(async () => {
  shop = await startShop();
  const limits = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: shop.database.url, entities, ...limits, log: silentLog });
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  tracker = createTracker({ db, ids: createIds(systemClock), clock: systemClock, tokens });
  productId = await makeProduct(shop, { stock: 1_000n });
  otherId = await makeProduct(shop, { stock: 1_000n });
});
beforeEach(async () => {
  promotionId = await makePromotion(shop, { purchaseLimitPerUser: 2n });
  const items = [productId, otherId].map((id) => ({ productId: id, quantity: 3n }));
  orderId = (await shop.orders.createOrder({ requestId: randomUUID(), order: { items } })).order?.id ?? "";
});
afterAll(async () => {
  await db.close();
  await shop.close();
});

const transact = (work: (tx: Tx) => Promise<void>) => db.transact(internalCall(), work);
const amountOf = (minorUnits: bigint) => ({ currencyCode: "EUR", minorUnits });
const orderOf = () => ({ orderId, promotionId, customerId: userId, clientAddress: "192.0.2.1" });

const recordOrder = () =>
  transact((tx) => {
    const items = [productId, otherId].map((id) => ({ productId: id, amount: amountOf(3_000n) }));
    return tracker.recordOrders(tx, [{ ...orderOf(), items }], new Date());
  });
const reverse = (...items: OrderReversal["items"]) =>
  transact((tx) => tracker.reverseOrders(tx, [{ ...orderOf(), items }], new Date()));
const hold = (purchases: number) =>
  transact((tx) => tracker.holdOrders(tx, [{ orderId, promotionId, customerId: userId, purchases }]));
const release = (purchases: number) => transact((tx) => tracker.releaseHolds(tx, [{ orderId, purchases }]));

const isLimited = (purchases: number) =>
  transact(async (tx) => {
    const order = { promotionId, customerId: userId };
    const limits = await tracker.readPromotionLimits(tx, [order], true);
    limits.take(order, purchases, new Date());
  }).then(
    () => false,
    () => true,
  );

async function held(): Promise<number[]> {
  const rows = await shop.database.query<{ held: number; holds: number }>(
    `select held_purchases::int as held, (select coalesce(sum(purchases), 0)::int from promotion_hold
       where promotion_id = promotion.id) as holds
     from promotion where id = $1`,
    [promotionId],
  );
  return rows.flatMap(({ held: sum, holds }) => [sum, holds]);
}

test("reversals of some units lower amounts, and the one of the last unit the count and the limit", async () => {
  await recordOrder();
  const stats = async () => {
    const { totalCount, recentCount, totalAmount, recentAmount } = await shop.tracker.getPurchaseStats({
      promotionId,
    });
    expect([recentCount, recentAmount?.minorUnits]).toEqual([totalCount, totalAmount?.minorUnits]);
    return [totalCount, totalAmount?.minorUnits];
  };
  expect(await stats()).toEqual([2n, 6_000n]);
  await reverse({ productId, amount: amountOf(1_000n), isLast: false });
  expect(await stats()).toEqual([2n, 5_000n]);
  await reverse(
    { productId, amount: amountOf(1_000n), isLast: false },
    { productId: otherId, amount: amountOf(2_000n), isLast: false },
  );
  expect(await stats()).toEqual([2n, 2_000n]);
  expect(await isLimited(1)).toBe(true);
  await reverse({ productId, amount: amountOf(1_000n), isLast: true });
  expect(await stats()).toEqual([1n, 1_000n]);
  expect([await isLimited(1), await isLimited(2)]).toEqual([false, true]);
  await shop.tracker.recordPurchase({ purchase: purchaseOf(promotionId, productId, { userId }) });
  expect(await stats()).toEqual([2n, 1_500n]);
  const { purchases } = await shop.tracker.listPurchases({ promotionId, productId: otherId });
  expect(
    purchases.map(({ kind, partial, orderId: id, amount }) => [kind, partial, id, amount?.minorUnits]),
  ).toEqual([
    [PurchaseKind.REVERSAL, true, orderId, 2_000n],
    [PurchaseKind.SALE, false, orderId, 3_000n],
  ]);
});

test("an item is recorded once and its last unit reversed once", async () => {
  const violation = (promise: Promise<unknown>) =>
    promise.then(
      () => false,
      (error: unknown) => violatesConstraint(error, "purchase_order_unique"),
    );
  await recordOrder();
  expect(await violation(recordOrder())).toBe(true);
  const last = { productId, amount: amountOf(3_000n), isLast: true };
  await reverse(last);
  expect(await violation(reverse(last))).toBe(true);
  expect((await shop.tracker.getPurchaseStats({ promotionId })).totalCount).toBe(1n);
});

test("a hold is released in parts, and never twice", async () => {
  await hold(2);
  expect(await held()).toEqual([2, 2]);
  expect(await isLimited(1)).toBe(true);
  await release(1);
  expect(await held()).toEqual([1, 1]);
  expect(await isLimited(1)).toBe(false);
  await expect(release(2)).rejects.toThrow("violates check constraint");
  expect(await held()).toEqual([1, 1]);
  await Promise.all([release(1), release(1)]);
  await release(1);
  expect(await held()).toEqual([0, 0]);
});

test("recorded sales end the hold of their order, and concurrent releases do not change the sum twice", async () => {
  await hold(2);
  await Promise.all([recordOrder(), release(2), release(2)]);
  expect(await held()).toEqual([0, 0]);
  expect(await isLimited(1)).toBe(true);
});
