import { afterAll, beforeAll, expect, test } from "vitest";
import { explainStatement } from "../../support/query-plans/query-plan.ts";
import { openReviewFeatures } from "../../support/review/review-features.ts";

let features: Awaited<ReturnType<typeof openReviewFeatures>>;
beforeAll(async () => {
  features = await openReviewFeatures();
});
afterAll(() => features.close());

test("a page of a product's reviews is read from the index without further rows", async () => {
  const productId = await features.product();
  const { database } = features;
  // The rows reference customers that do not exist.
  await database.query("set session_replication_role = replica");
  await database.query(
    `insert into review (id, product_id, customer_id, author_name, rating, title, body, created_at)
     select gen_random_uuid(), case when n % 5 = 0 then $1::uuid else gen_random_uuid() end, gen_random_uuid(),
       'Ann', 3, '', '', now() from generate_series(1, 30000) n`,
    [productId],
  );
  await database.query("vacuum analyze review");
  const first = await features.reviews.list(features.call, { productId, pageSize: 20, pageToken: "" });
  const next = { productId, pageSize: 20, pageToken: first.nextPageToken };
  expect((await features.reviews.list(features.call, next)).items).toHaveLength(20);
  for (const statement of features.statements.slice(-2)) {
    const { indexes, scanned, rows } = await explainStatement(database, statement);
    expect({ indexes, scanned }).toEqual({ indexes: ["review_product"], scanned: [] });
    expect(rows).toBeLessThanOrEqual(21);
  }
});
