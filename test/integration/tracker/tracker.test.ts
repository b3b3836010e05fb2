import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { PromotionState, PurchaseKind } from "../../../gen/cartwright/tracker/v1/tracker_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { inDays, makePromotion, purchaseOf } from "../../support/tracker/promotion-fixtures.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

describe.each(["gRPC", "Connect JSON"] as const)("over %s", (protocol) => {
  const tracker = () => (protocol === "gRPC" ? shop.tracker : shop.json.tracker);

  test("a promotion is scheduled, then active, then ended", async () => {
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

  test("a promotion that ends before it starts is rejected", async () => {
    const promotion = { name: "P", startTime: inDays(2), endTime: inDays(1) };
    expect(await failureOf(tracker().createPromotion({ promotion }))).toMatchObject({
      code: "InvalidArgument",
      fields: ["promotion.end_time"],
    });
  });

  test("an event is counted once, and a repeat returns it unchanged", async () => {
    const promotionId = await makePromotion(shop);
    const purchase = purchaseOf(promotionId, productId);
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

  test("a repeat of a recorded event is acknowledged even after its promotion has ended", async () => {
    const promotionId = await makePromotion(shop);
    const purchase = purchaseOf(promotionId, productId);
    const first = await tracker().recordPurchase({ purchase });
    await tracker().endPromotion({ id: promotionId });
    expect(await tracker().recordPurchase({ purchase })).toEqual({ ...first, duplicate: true });
  });

  test("an event_id that was used for another purchase is rejected", async () => {
    const purchase = purchaseOf(await makePromotion(shop), productId);
    await tracker().recordPurchase({ purchase });
    const other = { ...purchase, amount: { currencyCode: "EUR", minorUnits: 501n } };
    expect(await failureOf(tracker().recordPurchase({ purchase: other }))).toMatchObject({
      code: "InvalidArgument",
      reason: "EVENT_ID_REUSED",
      fields: ["purchase.event_id"],
    });
  });

  test("a batch is recorded as a whole or not at all, and counts its duplicates once", async () => {
    const promotionId = await makePromotion(shop);
    const purchases = Array.from({ length: 50 }, () => purchaseOf(promotionId, productId));
    const [first] = purchases;
    if (first === undefined) throw new Error("no purchase");
    const response = await tracker().batchRecordPurchases({ purchases: [...purchases, first] });
    expect(response).toMatchObject({ recordedCount: 50, duplicateCount: 1 });
    expect(response.results.map((result) => result.duplicate)).toEqual([...purchases.map(() => false), true]);
    const bad = { ...purchaseOf(promotionId, productId), productId: randomUUID() };
    const rejected = tracker().batchRecordPurchases({ purchases: [purchaseOf(promotionId, productId), bad] });
    expect(await failureOf(rejected)).toMatchObject({ code: "NotFound", reason: "PRODUCT_NOT_FOUND" });
    expect((await tracker().getPurchaseStats({ promotionId })).totalCount).toBe(50n);
  });

  test.each([
    ["an event_id that is no UUID", { eventId: "1" }, "purchase.event_id"],
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
      "an overflowing amount",
      { amount: { currencyCode: "EUR", minorUnits: 2n ** 62n } },
      "purchase.amount.minor_units",
    ],
    [
      "an invalid currency",
      { amount: { currencyCode: "euro", minorUnits: 1n } },
      "purchase.amount.currency_code",
    ],
    ["a reversal", { kind: PurchaseKind.REVERSAL }, "purchase.kind"],
    ["a time in the future", { purchaseTime: inDays(1) }, "purchase.purchase_time"],
    ["a time out of range", { purchaseTime: { seconds: 10n ** 11n, nanos: 0 } }, "purchase.purchase_time"],
  ])("a purchase with %s is rejected", async (_name, changes, field) => {
    const purchase = { ...purchaseOf(await makePromotion(shop), productId), ...changes };
    expect(await failureOf(tracker().recordPurchase({ purchase }))).toMatchObject({
      code: "InvalidArgument",
      fields: [field],
    });
  });

  test("purchases outside of the period of their promotion are rejected", async () => {
    const before = { ...purchaseOf(await makePromotion(shop), productId), purchaseTime: inDays(-11) };
    expect(await failureOf(tracker().recordPurchase({ purchase: before }))).toMatchObject({
      code: "FailedPrecondition",
      reason: "PROMOTION_NOT_RUNNING",
    });
    const promotionId = await makePromotion(shop);
    await tracker().endPromotion({ id: promotionId });
    expect(
      await failureOf(tracker().recordPurchase({ purchase: purchaseOf(promotionId, productId) })),
    ).toMatchObject({
      reason: "PROMOTION_NOT_RUNNING",
    });
    // A purchase before the end is counted even when it is reported late.
    const late = { ...purchaseOf(promotionId, productId), purchaseTime: inDays(-1) };
    expect(await tracker().recordPurchase({ purchase: late })).toMatchObject({ duplicate: false });
    const nowhere = tracker().recordPurchase({ purchase: purchaseOf(randomUUID(), productId) });
    expect(await failureOf(nowhere)).toMatchObject({ code: "NotFound", reason: "PROMOTION_NOT_FOUND" });
  });
});
