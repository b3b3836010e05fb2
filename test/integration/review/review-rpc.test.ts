import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failureOf } from "../../support/errors.ts";
import { createAccount, type SignedInAccount } from "../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, markPaid } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
let staff: SignedInAccount;
let ann: SignedInAccount;
let bob: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  staff = await createAccount(shop, "STAFF");
  [ann, bob] = [await createAccount(shop), await createAccount(shop)];
});
afterAll(() => shop.close());

/** Creates a product that some accounts buy, and returns its id. */
async function boughtBy(...people: SignedInAccount[]): Promise<string> {
  const productId = await makeProduct(staff, { stock: 10n });
  for (const person of people) {
    const order = { customerId: person.customerId, items: [{ productId, quantity: 1n }] };
    const { order: placed } = await person.orders.createOrder({ requestId: randomUUID(), order });
    await markPaid(staff, placed?.id ?? "");
  }
  return productId;
}

/** Returns the ratings and reviews of a product in each of the cached responses. */
async function readCached(productId: string) {
  const key = { case: "id", value: productId } as const;
  const { product } = await shop.catalog.getProduct({ key });
  const bySku = await shop.catalog.getProduct({ key: { case: "sku", value: product?.sku ?? "" } });
  const batch = await shop.catalog.batchGetProducts({ ids: [productId.toUpperCase()] });
  const list = await shop.catalog.listProducts({ categoryId: product?.categoryId ?? "" });
  const { reviews } = await shop.reviews.listReviews({ productId: productId.toUpperCase() });
  const ratings = [product, bySku.product, batch.products[0], list.products[0]].map(
    (one) => `${one?.ratingAverage} of ${one?.ratingCount}`,
  );
  return { ratings, reviews };
}

const four = (rating: string) => Array(4).fill(rating);

describe("reviews", () => {
  test("a review and its deletion change every cached response immediately", async () => {
    const productId = await boughtBy(ann, bob);
    expect(await readCached(productId)).toEqual({ ratings: four("0 of 0"), reviews: [] });
    const request = { review: { productId: productId.toUpperCase(), rating: 5, title: "Good" } };
    const first = (await ann.reviews.createReview(request))?.review;
    expect(first).toMatchObject({ productId, rating: 5, title: "Good", authorName: "Ann" });
    expect(await readCached(productId)).toEqual({ ratings: four("5 of 1"), reviews: [first] });
    const second = (await bob.json.reviews.createReview({ review: { productId, rating: 2 } }))?.review;
    expect(await readCached(productId)).toEqual({ ratings: four("3.5 of 2"), reviews: [second, first] });
    await staff.reviews.deleteReview({ id: first?.id.toUpperCase() ?? "" });
    expect(await readCached(productId)).toEqual({ ratings: four("2 of 1"), reviews: [second] });
    expect(await findViolations(shop.database.url)).toEqual([]);
  });

  test("a rejected review returns the documented code and reason", async () => {
    const productId = await boughtBy(ann);
    const review = { productId, rating: 3 };
    const write = ({ reviews }: Pick<SignedInAccount, "reviews">) =>
      failureOf(reviews.createReview({ review }));
    expect(await write(shop)).toMatchObject({ code: "Unauthenticated", reason: "SIGN_IN_REQUIRED" });
    expect(await write(bob)).toMatchObject({ code: "FailedPrecondition", reason: "NOT_BOUGHT" });
    const first = await ann.reviews.createReview({ review });
    expect(await write(ann)).toMatchObject({ code: "AlreadyExists", reason: "REVIEW_EXISTS" });
    const id = first?.review?.id ?? "";
    const remove = bob.reviews.deleteReview({ id });
    expect(await failureOf(remove)).toMatchObject({ code: "PermissionDenied", reason: "NOT_THE_AUTHOR" });
    const tooGood = ann.reviews.createReview({ review: { productId, rating: 6 } });
    expect(await failureOf(tooGood)).toMatchObject({ code: "InvalidArgument", reason: "INVALID_REQUEST" });
    await ann.reviews.deleteReview({ id });
    expect(await failureOf(staff.reviews.deleteReview({ id }))).toMatchObject({ code: "NotFound" });
  });
});
