import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PurchaseKind } from "../../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, markPaid } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { inDays, makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

/** The longest deadline that the service allows, in milliseconds. */
const DEADLINE_MS = 30_000;

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("100 concurrent purchases exceed neither the limit of a promotion nor that of a user", async () => {
  const total = await makePromotion(shop, { purchaseLimit: 30n });
  const perUser = await makePromotion(shop, { purchaseLimitPerUser: 3n });
  const attempt = (promotionId: string, userId: string) => {
    const purchase = purchaseOf(promotionId, productId, { userId });
    const call = shop.tracker.recordPurchase({ purchase }, { timeoutMs: DEADLINE_MS });
    return call.then(
      () => "ok",
      () => failureOf(call).then(({ reason }) => reason),
    );
  };
  const buyers = Array.from({ length: 100 }, (_, index) => `user-${index % 10}`);
  const limited = await Promise.all(buyers.map((user) => attempt(total, user)));
  expect(limited.filter((outcome) => outcome === "ok")).toHaveLength(30);
  expect(limited.filter((outcome) => outcome === "PURCHASE_LIMIT_REACHED")).toHaveLength(70);
  const each = await Promise.all(buyers.map((user) => attempt(perUser, user)));
  expect(each.filter((outcome) => outcome === "ok")).toHaveLength(30);
  expect((await shop.tracker.getPurchaseStats({ promotionId: perUser })).totalCount).toBe(30n);
});

test("an event that is sent 20 times concurrently, alone and in batches, is counted once", async () => {
  const promotionId = await makePromotion(shop);
  const [a, b] = [purchaseOf(promotionId, productId), purchaseOf(promotionId, productId)];
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      index % 3 === 0
        ? shop.tracker.recordPurchase({ purchase: a }, { timeoutMs: DEADLINE_MS })
        : shop.tracker.batchRecordPurchases(
            { purchases: index % 3 === 1 ? [a, b] : [b, a] },
            { timeoutMs: DEADLINE_MS },
          ),
    ),
  );
  expect((await shop.tracker.getPurchaseStats({ promotionId })).totalCount).toBe(2n);
});

test("statistics are consistent while purchases are recorded, and recent counts only the timeframe", async () => {
  const promotionId = await makePromotion(shop);
  const old = { ...purchaseOf(promotionId, productId, { minorUnits: 100n }), purchaseTime: inDays(-3) };
  await shop.tracker.recordPurchase({ purchase: old });
  let writing = true;
  const writer = (async () => {
    for (let count = 0; count < 150; count += 1) {
      await shop.tracker.recordPurchase({
        purchase: purchaseOf(promotionId, productId, { minorUnits: 100n }),
      });
    }
    writing = false;
  })();
  while (writing) {
    const { totalCount, recentCount, totalAmount, recentAmount } = await shop.tracker.getPurchaseStats({
      promotionId,
    });
    expect(totalAmount?.minorUnits).toBe(totalCount * 100n);
    expect(recentAmount?.minorUnits).toBe(recentCount * 100n);
    expect(totalCount - recentCount).toBe(1n);
  }
  await writer;
  const week = await shop.tracker.getPurchaseStats({
    promotionId,
    productId,
    timeframe: { seconds: 604_800n, nanos: 0 },
  });
  expect(week).toMatchObject({ totalCount: 151n, recentCount: 151n });
});

test("statistics are zero for a promotion without purchases and NOT_FOUND for an unknown one", async () => {
  const empty = await shop.tracker.getPurchaseStats({ promotionId: await makePromotion(shop) });
  expect(empty).toMatchObject({ totalCount: 0n, recentCount: 0n });
  expect(empty.totalAmount).toBeUndefined();
  const nowhere = shop.tracker.getPurchaseStats({ promotionId: randomUUID() });
  expect(await failureOf(nowhere)).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
});

test("purchases that would overflow an int64 total are rejected, and none is recorded", async () => {
  const promotionId = await makePromotion(shop);
  const batch = () =>
    shop.tracker.batchRecordPurchases(
      {
        purchases: Array.from({ length: 1_000 }, () =>
          purchaseOf(promotionId, productId, { minorUnits: 10n ** 15n }),
        ),
      },
      { timeoutMs: DEADLINE_MS },
    );
  for (let count = 0; count < 9; count += 1) await batch();
  const within = await shop.tracker.getPurchaseStats({ promotionId });
  expect(within.totalAmount?.minorUnits).toBe(9n * 10n ** 18n);
  await batch();
  expect(await failureOf(shop.tracker.getPurchaseStats({ promotionId }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "TOTAL_TOO_LARGE",
  });
  // A total is divided among 8 shards, one of which is full after at most 9,223 purchases each.
  const reasons: string[] = [];
  for (let count = 0; count < 80 && reasons.length === 0; count += 1) {
    const call = batch();
    await call.catch(async () => reasons.push((await failureOf(call)).reason ?? ""));
  }
  expect(reasons).toEqual(["TOTAL_TOO_LARGE"]);
});

test("statistics of purchases in two currencies require a currency", async () => {
  const promotionId = await makePromotion(shop);
  const yen = { ...purchaseOf(promotionId, productId), amount: { currencyCode: "JPY", minorUnits: 900n } };
  await shop.tracker.batchRecordPurchases({ purchases: [purchaseOf(promotionId, productId), yen] });
  expect(await failureOf(shop.tracker.getPurchaseStats({ promotionId }))).toMatchObject({
    reason: "CURRENCY_REQUIRED",
  });
  const stats = await shop.tracker.getPurchaseStats({ promotionId, currencyCode: "JPY" });
  expect(stats).toMatchObject({ totalCount: 1n, totalAmount: { currencyCode: "JPY", minorUnits: 900n } });
});

test("the items of an order of a promotion are limited when it is placed, counted when it is paid, and reversed by its cancellation", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimitPerUser: 1n });
  const customerId = await makeCustomer(shop);
  const buy = () =>
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: { customerId, promotionId, items: [{ productId, quantity: 3n }] },
    });
  const { order } = await buy();
  expect((await shop.tracker.getPurchaseStats({ promotionId })).totalCount).toBe(0n);
  expect(await failureOf(buy())).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
    message: `Purchase limit reached: user ${customerId} has reached the limit of 1 purchase per user. Nothing was ordered.`,
  });
  const recorded = shop.tracker.recordPurchase({
    purchase: purchaseOf(promotionId, productId, { userId: customerId }),
  });
  expect(await failureOf(recorded)).toMatchObject({
    reason: "PURCHASE_LIMIT_REACHED",
    message: `Purchase limit reached: user ${customerId} has reached the limit of 1 purchase per user. Nothing was recorded.`,
  });
  await markPaid(shop, order?.id ?? "");
  expect(await shop.tracker.getPurchaseStats({ promotionId })).toMatchObject({
    totalCount: 1n,
    totalAmount: { minorUnits: 3_000n },
  });
  expect(await failureOf(buy())).toMatchObject({
    code: "FailedPrecondition",
    reason: "PURCHASE_LIMIT_REACHED",
  });
  await shop.orders.cancelOrder({ id: order?.id ?? "" });
  expect(await shop.tracker.getPurchaseStats({ promotionId })).toMatchObject({
    totalCount: 0n,
    recentCount: 0n,
    totalAmount: { minorUnits: 0n },
  });
  const { purchases } = await shop.tracker.listPurchases({ promotionId });
  expect(purchases.map(({ kind }) => kind)).toEqual([PurchaseKind.REVERSAL, PurchaseKind.SALE]);
  await buy();
});

test("orders of inactive promotions, and of guests when purchases per user are limited, are rejected", async () => {
  const order = (promotionId: string) => {
    const items = [{ productId, quantity: 1n }];
    return failureOf(shop.orders.createOrder({ requestId: randomUUID(), order: { promotionId, items } }));
  };
  const ended = await makePromotion(shop);
  await shop.tracker.endPromotion({ id: ended });
  expect(await order(ended)).toMatchObject({ reason: "PROMOTION_NOT_RUNNING" });
  expect(await order(await makePromotion(shop, { purchaseLimitPerUser: 1n }))).toMatchObject({
    reason: "CUSTOMER_REQUIRED",
  });
  expect(await order(randomUUID())).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
});

test("a list returns each purchase of a filter once, newest first", async () => {
  const promotionId = await makePromotion(shop);
  const purchases = Array.from({ length: 9 }, (_, index) => ({
    ...purchaseOf(promotionId, productId, { userId: index % 2 === 0 ? "even" : "odd" }),
    // Pairs have equal times, so that a page may begin between them.
    purchaseTime: inDays(-1 - Math.floor(index / 2)),
  }));
  await shop.tracker.batchRecordPurchases({ purchases });
  const list = async (filter: { userId?: string; productId?: string }) => {
    const found: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await shop.tracker.listPurchases({ promotionId, ...filter, pageSize: 2, pageToken });
      found.push(...page.purchases.map(({ eventId }) => eventId));
      pageToken = page.nextPageToken;
      if (pageToken === "") return found;
    }
  };
  const all = await list({});
  expect(new Set(all)).toEqual(new Set(purchases.map(({ eventId }) => eventId)));
  expect(all).toHaveLength(9);
  expect(await list({ userId: "odd" })).toHaveLength(4);
  expect(await list({ productId: randomUUID() })).toEqual([]);
  const token = (await shop.tracker.listPurchases({ promotionId, pageSize: 2 })).nextPageToken;
  expect(await failureOf(shop.tracker.listPurchases({ pageSize: 2, pageToken: token }))).toMatchObject({
    code: "InvalidArgument",
    reason: "PAGE_TOKEN_INVALID",
  });
});
