import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, markPaid } from "../../support/shop-fixtures.ts";
import { countLockWaits } from "../../support/stores/database-activity.ts";
import { findViolations } from "../../support/stores/invariants.ts";

// Otherwise customers could rate products by ordering and cancelling.
let shop: TestShop;
let ann: SignedInAccount;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  [ann, admin] = await Promise.all([createAccount(shop), createAccount(shop, "ADMIN")]);
});
afterAll(() => shop.close());

/** Orders one unit of each product. */
async function order(...productIds: string[]): Promise<string> {
  const items = productIds.map((productId) => ({ productId, quantity: 1n }));
  const { order: placed } = await ann.orders.createOrder({ requestId: randomUUID(), order: { items } });
  return placed?.id ?? "";
}
async function buy(...productIds: string[]): Promise<string> {
  const id = await order(...productIds);
  await markPaid(admin, id);
  return id;
}
const review = (productId: string) => ann.reviews.createReview({ review: { productId, rating: 1 } });
async function ratingOf(id: string): Promise<[number, bigint]> {
  const { product } = await shop.catalog.getProduct({ key: { case: "id", value: id } });
  return [product?.ratingAverage ?? -1, product?.ratingCount ?? -1n];
}

test("cancelling the last order of a product deletes the customer's review and its rating", async () => {
  const productId = await makeProduct(admin, { stock: 10n });
  const [first, second] = [await buy(productId), await buy(productId)];
  await ann.reviews.createReview({ review: { productId, rating: 1 } });
  await ann.orders.cancelOrder({ id: first });
  expect(await ratingOf(productId)).toEqual([1, 1n]);
  await ann.orders.cancelOrder({ id: second });
  expect(await ratingOf(productId)).toEqual([0, 0n]);
  expect((await shop.reviews.listReviews({ productId })).reviews).toEqual([]);
  expect(await failureOf(ann.reviews.createReview({ review: { productId, rating: 1 } }))).toMatchObject({
    reason: "NOT_BOUGHT",
  });
});

test("a review that is written during a cancellation does not remain", async () => {
  const productId = await makeProduct(admin, { stock: 100n });
  for (let round = 0; round < 15; round += 1) {
    const id = await buy(productId);
    await Promise.allSettled([
      ann.orders.cancelOrder({ id }),
      ann.reviews.createReview({ review: { productId, rating: 5 } }),
    ]);
    expect(await ratingOf(productId)).toEqual([0, 0n]);
  }
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("an order that is not paid does not allow a review", async () => {
  const productId = await makeProduct(admin, { stock: 10n });
  const id = await order(productId);
  expect(await failureOf(review(productId))).toMatchObject({ reason: "NOT_BOUGHT" });
  await markPaid(admin, id);
  await review(productId);
  expect(await ratingOf(productId)).toEqual([1, 1n]);
});

test("cancelling the last units of an item deletes its review, while the order has other items", async () => {
  const [cancelled, kept] = [
    await makeProduct(admin, { stock: 10n }),
    await makeProduct(admin, { stock: 10n }),
  ];
  const id = await buy(cancelled, kept);
  await review(cancelled);
  await review(kept);
  const items = [{ itemId: "1", quantity: 1n }];
  await admin.orders.cancelOrderItems({ id, items, requestId: randomUUID() });
  expect(await ratingOf(cancelled)).toEqual([0, 0n]);
  expect(await ratingOf(kept)).toEqual([1, 1n]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a cancellation locks the reviews before the products, as writing and deleting a review do", async () => {
  // The cancellation changes the availability of the product, which was sold out.
  const productId = await makeProduct(admin, { stock: 1n });
  const id = await buy(productId);
  const { review: written } = await review(productId);
  await shop.database.query("begin");
  await shop.database.query("select from review where id = $1 for update", [written?.id]);
  const cancelled = ann.orders.cancelOrder({ id });
  await expect.poll(() => countLockWaits(shop.database)).toBe(1);
  // The count of the units sold may lock the product for a moment; the cancellation would until the rollback.
  const lockProduct = () =>
    shop.database.query("select from product where id = $1 for update skip locked", [productId]);
  await expect.poll(lockProduct).toHaveLength(1);
  await shop.database.query("rollback");
  await cancelled;
  expect(await ratingOf(productId)).toEqual([0, 0n]);
});
