import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AppError } from "../../../src/kernel/errors.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { anonymous, system } from "../../../src/kernel/principal.ts";
import { silentLog } from "../../support/log.ts";
import { callAs, callBy, openReviewFeatures } from "../../support/review/review-features.ts";
import { findFailedChecks, findViolations } from "../../support/stores/invariants.ts";

let features: Awaited<ReturnType<typeof openReviewFeatures>>;
/** Number of deadlocks that PostgreSQL has reported. */
let deadlocks = 0;
beforeAll(async () => {
  const debug: Log["debug"] = ({ err }) => {
    if (err instanceof Error && err.message.includes("deadlock")) deadlocks += 1;
  };
  features = await openReviewFeatures({ ...silentLog, debug });
});
afterEach(async () => expect(await findViolations(features.database.url)).toEqual([]));
afterAll(() => features.close());

const missing = "00000000-0000-7000-8000-000000000000";

/** Returns the error of a call, or "done". */
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: unknown) => (error instanceof AppError ? { code: error.code, ...error.details } : error),
  );

/** Creates a customer who has bought a product. */
async function buyer(productId: string, name?: string) {
  const customer = await features.customer(name);
  await features.buy(customer.customerId, productId);
  return customer;
}

const listed = async (productId: string) =>
  (await features.reviews.list(features.call, { productId, pageSize: 0, pageToken: "" })).items;

describe("reviews and ratings", () => {
  test("a review is added to the rating of its product, and its deletion is subtracted", async () => {
    const productId = await features.product();
    const [ann, bob] = [await buyer(productId, "  Ann Example"), await buyer(productId, "Bob")];
    const first = await features.review(ann, productId, 5, { title: "Good" });
    expect(first).toMatchObject({ productId, rating: 5, title: "Good", body: "", authorName: "Ann" });
    expect(await features.ratingOf(productId)).toEqual({ average: 5, count: 1n });
    const second = await features.review(bob, productId, 2);
    expect(await features.ratingOf(productId)).toEqual({ average: 3.5, count: 2n });
    expect(await listed(productId)).toEqual([second, first]);
    await features.reviews.delete(ann, first.id);
    expect(await features.ratingOf(productId)).toEqual({ average: 2, count: 1n });
    await features.reviews.delete(bob, second.id);
    expect(await features.ratingOf(productId)).toEqual({ average: 0, count: 0n });
    expect(await listed(productId)).toEqual([]);
  });

  test("the average of many reviews is exact", async () => {
    const productId = await features.product();
    // Computed from the previous average, it would be 3.7500000000000004.
    for (const rating of [2, 5, 4, 5, 5, 3, 5, 1])
      await features.review(await buyer(productId), productId, rating);
    expect(await features.ratingOf(productId)).toEqual({ average: 3.75, count: 8n });
  });

  test("a review does not change the etag of its product", async () => {
    const productId = await features.product();
    await features.review(await buyer(productId), productId);
    await expect(features.catalog.products.delete(features.call, productId, "1")).resolves.toBeDefined();
  });

  test("a product can be reviewed once, and again after the review is deleted", async () => {
    const productId = await features.product();
    const ann = await buyer(productId);
    const { id } = await features.review(ann, productId, 1);
    expect(await refusal(features.review(ann, productId, 5))).toMatchObject({
      code: "already_exists",
      reason: "REVIEW_EXISTS",
      resource: { type: "review", name: `products/${productId}` },
    });
    await features.reviews.delete(ann, id);
    await features.review(ann, productId, 5);
    expect(await features.ratingOf(productId)).toEqual({ average: 5, count: 1n });
  });

  test("a review needs an order with the product that is not cancelled", async () => {
    const [productId, other] = [await features.product(), await features.product()];
    const ann = await buyer(other);
    await buyer(productId);
    const notBought = {
      code: "failed_precondition",
      reason: "NOT_BOUGHT",
      preconditions: [{ type: "NOT_BOUGHT", subject: `products/${productId}` }],
    };
    expect(await refusal(features.review(ann, productId))).toMatchObject(notBought);
    const id = await features.buy(ann.customerId, productId);
    await features.orders.cancel(features.call, { id, etag: "", reason: "" }, "");
    expect(await refusal(features.review(ann, productId))).toMatchObject(notBought);
    await features.buy(ann.customerId, productId);
    await expect(features.review(ann, productId)).resolves.toBeDefined();
  });

  test("a review of a deleted or unknown product is rejected, while an earlier one can still be deleted", async () => {
    const productId = await features.product();
    const [ann, bob] = [await buyer(productId), await buyer(productId)];
    const { id } = await features.review(ann, productId);
    await features.catalog.products.delete(features.call, productId, "");
    for (const product of [productId, missing]) {
      const found = await refusal(features.review(bob, product));
      expect(found).toMatchObject({ code: "not_found", reason: "PRODUCT_NOT_FOUND" });
    }
    await features.reviews.delete(ann, id);
    expect(await features.ratingOf(productId)).toEqual({ average: 0, count: 0n });
  });

  test("a review with validate_only is rejected for the same reasons and changes nothing", async () => {
    const productId = await features.product();
    const ann = await buyer(productId);
    const validated = await features.review(ann, productId, 3, { validateOnly: true });
    expect(validated).toMatchObject({ rating: 3, authorName: "Ann" });
    expect(await features.ratingOf(productId)).toEqual({ average: 0, count: 0n });
    await features.review(ann, productId, 3);
    const again = await refusal(features.review(ann, productId, 3, { validateOnly: true }));
    expect(again).toMatchObject({ reason: "REVIEW_EXISTS" });
  });

  test("a review with a used request_id returns the first result, to its author only", async () => {
    const productId = await features.product();
    const [ann, bob] = [await buyer(productId), await buyer(productId)];
    const review = { productId, rating: 4, title: "", body: "" };
    const request = { review, requestId: randomUUID(), validateOnly: false };
    const first = await features.reviews.create(ann, request);
    expect(await features.reviews.create(ann, request)).toEqual(first);
    const other = { ...request, review: { ...review, rating: 1 } };
    expect(await refusal(features.reviews.create(ann, other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
    expect((await features.reviews.create(bob, request)).id).not.toBe(first.id);
    expect(await features.ratingOf(productId)).toEqual({ average: 4, count: 2n });
  });
});

describe("access to reviews", () => {
  const service = () =>
    callBy({
      kind: "service",
      keyId: randomUUID(),
      serviceAccount: "helpdesk",
      scopes: new Set(["REVIEWS_WRITE"]),
    });

  test("a review can be written by signed-in accounts only", async () => {
    const productId = await features.product();
    expect(await refusal(features.review(callBy(anonymous), productId))).toMatchObject({
      code: "unauthenticated",
    });
    for (const call of [service(), callBy(system)]) {
      const found = await refusal(features.review(call, productId));
      expect(found).toMatchObject({ code: "permission_denied", reason: "PEOPLE_ONLY" });
    }
  });

  test("a review can be deleted by its author, staff and services only", async () => {
    const productId = await features.product();
    const ann = await buyer(productId);
    const otherCustomer = await buyer(productId);
    const staff = callAs({ customerId: otherCustomer.customerId, role: "STAFF" });
    for (const call of [
      ann,
      staff,
      callAs({ customerId: otherCustomer.customerId, role: "ADMIN" }),
      service(),
    ]) {
      const { id } = await features.review(ann, productId);
      expect(await refusal(features.reviews.delete(otherCustomer, id))).toMatchObject({
        code: "permission_denied",
        reason: "NOT_THE_AUTHOR",
      });
      expect(await listed(productId)).toHaveLength(1);
      expect(await features.ratingOf(productId)).toEqual({ average: 4, count: 1n });
      await features.reviews.delete(call, id);
      expect(await refusal(features.reviews.delete(call, id))).toMatchObject({
        code: "not_found",
        reason: "REVIEW_NOT_FOUND",
      });
    }
    expect(await features.ratingOf(productId)).toEqual({ average: 0, count: 0n });
  });
});

describe("concurrent reviews", () => {
  test("50 concurrent reviews produce an exact rating while customers buy the product", async () => {
    const productId = await features.product();
    const buyers = await Promise.all(Array.from({ length: 50 }, () => buyer(productId)));
    const ratings = buyers.map((_, at) => 1 + ((at * 7) % 5));
    const shopping = buyers.map(({ customerId }) => features.buy(customerId, productId));
    await Promise.all([
      ...buyers.map((one, at) => features.review(one, productId, ratings[at])),
      ...shopping,
    ]);
    const sum = ratings.reduce((a, b) => a + b, 0);
    expect(await features.ratingOf(productId)).toEqual({ average: sum / 50, count: 50n });
  });

  test("concurrent reviews of a product by one customer create a single review", async () => {
    const productId = await features.product();
    const ann = await buyer(productId);
    const found = await Promise.all(
      Array.from({ length: 8 }, () => refusal(features.review(ann, productId))),
    );
    expect(found.filter((one) => one === "done")).toHaveLength(1);
    expect(found.filter((one) => one !== "done")).toEqual(
      Array(7).fill(expect.objectContaining({ reason: "REVIEW_EXISTS" })),
    );
    expect(await features.ratingOf(productId)).toEqual({ average: 4, count: 1n });
  });

  test("deleting a review and writing the next one do not deadlock", async () => {
    const productId = await features.product();
    const ann = await buyer(productId);
    for (let round = 0; round < 60; round++) {
      const { id } = await features.review(ann, productId, 1);
      const next = refusal(features.review(ann, productId, 5));
      // Varies the progress of the other transaction.
      for (let query = 0; query < round % 12; query += 1) await features.database.query("select 1");
      await features.reviews.delete(ann, id);
      if ((await next) === "done") await features.reviews.delete(ann, (await listed(productId))[0]?.id ?? "");
    }
    expect(await features.ratingOf(productId)).toEqual({ average: 0, count: 0n });
    expect(deadlocks).toBe(0);
  });

  test("concurrent deletions delete a review a single time", async () => {
    const productId = await features.product();
    const [ann, bob] = [await buyer(productId), await buyer(productId)];
    await features.review(bob, productId, 1);
    const { id } = await features.review(ann, productId, 5);
    const found = await Promise.all(
      Array.from({ length: 8 }, () => refusal(features.reviews.delete(features.call, id))),
    );
    expect(found.filter((one) => one === "done")).toHaveLength(1);
    expect(await features.ratingOf(productId)).toEqual({ average: 1, count: 1n });
  });

  test("writing and deleting reviews of several products completes in any order", async () => {
    const products = await Promise.all([features.product(), features.product()]);
    const people = await Promise.all(Array.from({ length: 6 }, () => features.customer()));
    for (const { customerId } of people) for (const id of products) await features.buy(customerId, id);
    await Promise.all(
      people.flatMap((one, at) =>
        products.map(async (productId) => {
          const { id } = await features.review(one, productId, 1 + (at % 5));
          if (at % 2 === 0) await features.reviews.delete(features.call, id);
        }),
      ),
    );
    for (const productId of products) expect((await features.ratingOf(productId)).count).toBe(3n);
  });
});

describe("the list", () => {
  test("a list returns all reviews, newest first, and its tokens are valid for the product only", async () => {
    const [productId, other] = [await features.product(), await features.product()];
    const written: string[] = [];
    for (let count = 0; count < 5; count++) {
      written.unshift((await features.review(await buyer(productId), productId)).id);
    }
    await features.review(await buyer(other), other);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await features.reviews.list(features.call, { productId, pageSize: 2, pageToken });
      seen.push(...page.items.map(({ id }) => id));
      pageToken = page.nextPageToken;
      const elsewhere = { productId: other, pageSize: 2, pageToken };
      if (pageToken !== "") {
        expect(await refusal(features.reviews.list(features.call, elsewhere))).toMatchObject({
          reason: "PAGE_TOKEN_INVALID",
        });
      }
    } while (pageToken !== "");
    expect(seen).toEqual(written);
  });
});

test.each([
  ["count", "update product set rating_count = rating_count + 1 where id = $1"],
  ["sum", "update product set rating_sum = rating_sum + 1 where id = $1"],
  ["average", "update product set rating_average = rating_average + 0.01 where id = $1"],
  ["reviews", "delete from review where product_id = $1"],
])("the check detects a rating that differs from the reviews: %s", async (_, statement) => {
  const productId = await features.product();
  const { id } = await features.review(await buyer(productId), productId, 3);
  await features.database.query("begin");
  await features.database.query(statement, [productId]);
  const found = await findFailedChecks(features.database.query);
  await features.database.query("rollback");
  expect(found).toMatchObject([
    { name: "product-ratings", breaches: [{ resource: `products/${productId}` }] },
  ]);
  await features.reviews.delete(features.call, id);
});
