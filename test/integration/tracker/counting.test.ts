import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PurchaseKind } from "../../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { breaches } from "../../support/invariants.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct } from "../../support/shop-fixtures.ts";
import { inDays, makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await breaches(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("100 buyers at once never pass the limit of a promotion, nor that of a user", async () => {
  const total = await makePromotion(shop, { purchaseLimit: 30n });
  const perUser = await makePromotion(shop, { purchaseLimitPerUser: 3n });
  const attempt = (promotionId: string, userId: string) => {
    const call = shop.tracker.recordPurchase({ purchase: purchaseOf(promotionId, productId, { userId }) });
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

test("the same event sent 20 times at once, alone and in batches, is counted once", async () => {
  const promotionId = await makePromotion(shop);
  const [a, b] = [purchaseOf(promotionId, productId), purchaseOf(promotionId, productId)];
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      index % 3 === 0
        ? shop.tracker.recordPurchase({ purchase: a })
        : shop.tracker.batchRecordPurchases({ purchases: index % 3 === 1 ? [a, b] : [b, a] }),
    ),
  );
  expect((await shop.tracker.getPurchaseStats({ promotionId })).totalCount).toBe(2n);
});

test("statistics are never torn, and recent is what is recent", async () => {
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

test("statistics of a promotion without purchases are zero, and of no promotion NOT_FOUND", async () => {
  const empty = await shop.tracker.getPurchaseStats({ promotionId: await makePromotion(shop) });
  expect(empty).toMatchObject({ totalCount: 0n, recentCount: 0n });
  expect(empty.totalAmount).toBeUndefined();
  const nowhere = shop.tracker.getPurchaseStats({ promotionId: randomUUID() });
  expect(await failureOf(nowhere)).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
});

test("totals past an int64 are refused with what can be done, and nothing is recorded", async () => {
  const promotionId = await makePromotion(shop);
  const batch = () =>
    shop.tracker.batchRecordPurchases({
      purchases: Array.from({ length: 1_000 }, () =>
        purchaseOf(promotionId, productId, { minorUnits: 10n ** 15n }),
      ),
    });
  for (let count = 0; count < 9; count += 1) await batch();
  const within = await shop.tracker.getPurchaseStats({ promotionId });
  expect(within.totalAmount?.minorUnits).toBe(9n * 10n ** 18n);
  await batch();
  expect(await failureOf(shop.tracker.getPurchaseStats({ promotionId }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "TOTAL_TOO_LARGE",
  });
  // A single total is kept in 8 parts; one of them is full after 9,223 purchases at the latest.
  const refused: string[] = [];
  for (let count = 0; count < 80 && refused.length === 0; count += 1) {
    const call = batch();
    await call.catch(async () => refused.push((await failureOf(call)).reason ?? ""));
  }
  expect(refused).toEqual(["TOTAL_TOO_LARGE"]);
});

test("statistics in two currencies want one to be named", async () => {
  const promotionId = await makePromotion(shop);
  const yen = { ...purchaseOf(promotionId, productId), amount: { currencyCode: "JPY", minorUnits: 900n } };
  await shop.tracker.batchRecordPurchases({ purchases: [purchaseOf(promotionId, productId), yen] });
  expect(await failureOf(shop.tracker.getPurchaseStats({ promotionId }))).toMatchObject({
    reason: "CURRENCY_REQUIRED",
  });
  const stats = await shop.tracker.getPurchaseStats({ promotionId, currencyCode: "JPY" });
  expect(stats).toMatchObject({ totalCount: 1n, totalAmount: { currencyCode: "JPY", minorUnits: 900n } });
});

test("an order of a promotion is counted, limited, and taken off when it is cancelled", async () => {
  const promotionId = await makePromotion(shop, { purchaseLimitPerUser: 1n });
  const customerId = await makeCustomer(shop);
  const buy = () =>
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: { customerId, promotionId, items: [{ productId, quantity: 3n }] },
    });
  const { order } = await buy();
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

test("orders of promotions that do not run, and of guests where customers are limited, are refused", async () => {
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

test("purchases are listed newest first, by each filter, each once", async () => {
  const promotionId = await makePromotion(shop);
  const purchases = Array.from({ length: 9 }, (_, index) => ({
    ...purchaseOf(promotionId, productId, { userId: index % 2 === 0 ? "even" : "odd" }),
    // Two of each time, so that bus are met.
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
