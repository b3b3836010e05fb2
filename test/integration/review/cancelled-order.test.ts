import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
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

async function buy(productId: string): Promise<string> {
  const order = { items: [{ productId, quantity: 1n }] };
  return (await ann.orders.createOrder({ requestId: randomUUID(), order })).order?.id ?? "";
}
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
