import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { PromotionState, PurchaseKind } from "../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { failureOf } from "../support/errors.ts";
import { makeCustomer, makeProduct } from "../support/goods.ts";
import { breaches } from "../support/invariants.ts";
import { startShop, type TestShop } from "../support/shop.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await breaches(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

const inDays = (days: number) => timestampFromDate(new Date(Date.now() + days * 86_400_000));

async function makePromotion(limits: { purchaseLimit?: bigint; purchaseLimitPerUser?: bigint } = {}) {
  const { promotion } = await shop.tracker.createPromotion({
    promotion: { name: "Autumn", startTime: inDays(-10), endTime: inDays(10), ...limits },
  });
  return promotion?.id ?? "";
}

function purchaseOf(
  promotionId: string,
  changes: { userId?: string; eventId?: string; minorUnits?: bigint } = {},
) {
  const { minorUnits = 500n, ...rest } = changes;
  return {
    ...{ eventId: randomUUID(), userId: "ann", promotionId, productId, ...rest },
    amount: { currencyCode: "EUR", minorUnits },
  };
}

describe.each(["gRPC", "Connect JSON"] as const)("over %s", (protocol) => {
  const tracker = () => (protocol === "gRPC" ? shop.tracker : shop.json.tracker);

  test("promotions are scheduled, active and ended", async () => {
    const create = async (startTime: number, endTime: number | undefined) => {
      const times = {
        startTime: inDays(startTime),
        endTime: endTime === undefined ? undefined : inDays(endTime),
      };
      return (await tracker().createPromotion({ promotion: { name: "P", ...times } })).promotion;
    };
    const scheduled = await create(1, 2);
    const active = await create(-1, undefined);
    expect([scheduled?.state, active?.state]).toEqual([PromotionState.SCHEDULED, PromotionState.ACTIVE]);
    const ended = await tracker().endPromotion({ id: scheduled?.id ?? "" });
    expect(ended.promotion).toMatchObject({ state: PromotionState.ENDED, etag: "2" });
    const again = tracker().endPromotion({ id: scheduled?.id ?? "" });
    expect(await failureOf(again)).toMatchObject({
      code: "FailedPrecondition",
      reason: "PROMOTION_NOT_RUNNING",
    });
    const { promotions } = await tracker().listPromotions({ state: PromotionState.ACTIVE });
    expect(promotions.map(({ id }) => id)).toContain(active?.id);
    expect(promotions.map(({ id }) => id)).not.toContain(scheduled?.id);
    expect((await tracker().getPromotion({ id: active?.id ?? "" })).promotion).toEqual(active);
  });

  test("a promotion that ends before it starts is refused", async () => {
    const promotion = { name: "P", startTime: inDays(2), endTime: inDays(1) };
    expect(await failureOf(tracker().createPromotion({ promotion }))).toMatchObject({
      code: "InvalidArgument",
      fields: ["promotion.end_time"],
    });
  });

  test("an event is counted once, and comes back as it was", async () => {
    const promotionId = await makePromotion();
    const purchase = purchaseOf(promotionId);
    const first = await tracker().recordPurchase({ purchase });
    expect(first).toMatchObject({
      duplicate: false,
      purchase: { kind: PurchaseKind.SALE, clientAddress: "127.0.0.1" },
    });
    const second = await tracker().recordPurchase({
      purchase: { ...purchase, eventId: purchase.eventId.toUpperCase() },
    });
    expect(second).toEqual({ ...first, duplicate: true });
    const stats = await tracker().getPurchaseStats({ promotionId });
    expect(stats).toMatchObject({
      totalCount: 1n,
      recentCount: 1n,
      totalAmount: { currencyCode: "EUR", minorUnits: 500n },
    });
  });

  test("an event_id with another body is refused", async () => {
    const purchase = purchaseOf(await makePromotion());
    await tracker().recordPurchase({ purchase });
    const other = { ...purchase, amount: { currencyCode: "EUR", minorUnits: 501n } };
    expect(await failureOf(tracker().recordPurchase({ purchase: other }))).toMatchObject({
      code: "InvalidArgument",
      reason: "EVENT_ID_REUSED",
      fields: ["purchase.event_id"],
    });
  });

  test("a batch is recorded whole or not at all, duplicates within it counted once", async () => {
    const promotionId = await makePromotion();
    const purchases = Array.from({ length: 50 }, () => purchaseOf(promotionId));
    const [first] = purchases;
    if (first === undefined) throw new Error("no purchase");
    const answer = await tracker().batchRecordPurchases({ purchases: [...purchases, first] });
    expect(answer).toMatchObject({ recordedCount: 50, duplicateCount: 1 });
    expect(answer.results.map((result) => result.duplicate)).toEqual([...purchases.map(() => false), true]);
    const bad = { ...purchaseOf(promotionId), productId: randomUUID() };
    const refused = tracker().batchRecordPurchases({ purchases: [purchaseOf(promotionId), bad] });
    expect(await failureOf(refused)).toMatchObject({ code: "NotFound", reason: "PRODUCT_NOT_FOUND" });
    expect((await tracker().getPurchaseStats({ promotionId })).totalCount).toBe(50n);
  });

  test.each([
    ["an event_id that is none", { eventId: "1" }, "purchase.event_id"],
    ["no user", { userId: "" }, "purchase.user_id"],
    ["a user of 65 characters", { userId: "a".repeat(65) }, "purchase.user_id"],
    ["a NUL byte", { userId: "a\0b" }, "purchase.user_id"],
    ["no amount", { amount: undefined }, "purchase.amount"],
    [
      "a negative amount",
      { amount: { currencyCode: "EUR", minorUnits: -1n } },
      "purchase.amount.minor_units",
    ],
    [
      "money overflow",
      { amount: { currencyCode: "EUR", minorUnits: 2n ** 62n } },
      "purchase.amount.minor_units",
    ],
    [
      "a currency that is none",
      { amount: { currencyCode: "euro", minorUnits: 1n } },
      "purchase.amount.currency_code",
    ],
    ["a reversal", { kind: PurchaseKind.REVERSAL }, "purchase.kind"],
    ["a time to come", { purchaseTime: inDays(1) }, "purchase.purchase_time"],
    ["a time out of range", { purchaseTime: { seconds: 10n ** 11n, nanos: 0 } }, "purchase.purchase_time"],
  ])("a purchase with %s is refused", async (_name, changes, field) => {
    const purchase = { ...purchaseOf(await makePromotion()), ...changes };
    expect(await failureOf(tracker().recordPurchase({ purchase }))).toMatchObject({
      code: "InvalidArgument",
      fields: [field],
    });
  });

  test("purchases outside their promotion are refused", async () => {
    const before = { ...purchaseOf(await makePromotion()), purchaseTime: inDays(-11) };
    expect(await failureOf(tracker().recordPurchase({ purchase: before }))).toMatchObject({
      code: "FailedPrecondition",
      reason: "PROMOTION_NOT_RUNNING",
    });
    const promotionId = await makePromotion();
    await tracker().endPromotion({ id: promotionId });
    expect(await failureOf(tracker().recordPurchase({ purchase: purchaseOf(promotionId) }))).toMatchObject({
      reason: "PROMOTION_NOT_RUNNING",
    });
    // A fact of the time before the end still counts when it comes late.
    const late = { ...purchaseOf(promotionId), purchaseTime: inDays(-1) };
    expect(await tracker().recordPurchase({ purchase: late })).toMatchObject({ duplicate: false });
    const nowhere = tracker().recordPurchase({ purchase: purchaseOf(randomUUID()) });
    expect(await failureOf(nowhere)).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
  });
});

test("100 buyers at once never pass the limit of a promotion, nor that of a user", async () => {
  const total = await makePromotion({ purchaseLimit: 30n });
  const perUser = await makePromotion({ purchaseLimitPerUser: 3n });
  const attempt = (promotionId: string, userId: string) => {
    const call = shop.tracker.recordPurchase({ purchase: purchaseOf(promotionId, { userId }) });
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
  const promotionId = await makePromotion();
  const [a, b] = [purchaseOf(promotionId), purchaseOf(promotionId)];
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
  const promotionId = await makePromotion();
  const old = { ...purchaseOf(promotionId, { minorUnits: 100n }), purchaseTime: inDays(-3) };
  await shop.tracker.recordPurchase({ purchase: old });
  let writing = true;
  const writer = (async () => {
    for (let count = 0; count < 150; count += 1) {
      await shop.tracker.recordPurchase({ purchase: purchaseOf(promotionId, { minorUnits: 100n }) });
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
  const empty = await shop.tracker.getPurchaseStats({ promotionId: await makePromotion() });
  expect(empty).toMatchObject({ totalCount: 0n, recentCount: 0n });
  expect(empty.totalAmount).toBeUndefined();
  const nowhere = shop.tracker.getPurchaseStats({ promotionId: randomUUID() });
  expect(await failureOf(nowhere)).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
});

test("statistics in two currencies want one to be named", async () => {
  const promotionId = await makePromotion();
  const yen = { ...purchaseOf(promotionId), amount: { currencyCode: "JPY", minorUnits: 900n } };
  await shop.tracker.batchRecordPurchases({ purchases: [purchaseOf(promotionId), yen] });
  expect(await failureOf(shop.tracker.getPurchaseStats({ promotionId }))).toMatchObject({
    reason: "CURRENCY_REQUIRED",
  });
  const stats = await shop.tracker.getPurchaseStats({ promotionId, currencyCode: "JPY" });
  expect(stats).toMatchObject({ totalCount: 1n, totalAmount: { currencyCode: "JPY", minorUnits: 900n } });
});

test("an order of a promotion is counted, limited, and taken off when it is cancelled", async () => {
  const promotionId = await makePromotion({ purchaseLimitPerUser: 1n });
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
  const ended = await makePromotion();
  await shop.tracker.endPromotion({ id: ended });
  expect(await order(ended)).toMatchObject({ reason: "PROMOTION_NOT_RUNNING" });
  expect(await order(await makePromotion({ purchaseLimitPerUser: 1n }))).toMatchObject({
    reason: "CUSTOMER_REQUIRED",
  });
  expect(await order(randomUUID())).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
});

test("purchases are listed newest first, by each filter, each once", async () => {
  const promotionId = await makePromotion();
  const purchases = Array.from({ length: 9 }, (_, index) => ({
    ...purchaseOf(promotionId, { userId: index % 2 === 0 ? "even" : "odd" }),
    // Two of each time, so that ties are met.
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
