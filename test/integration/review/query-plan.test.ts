import { afterAll, beforeAll, expect, test } from "vitest";
import { planOf } from "../../support/query-plans/plan.ts";
import { openRooms } from "../../support/review-features.ts";

let rooms: Awaited<ReturnType<typeof openRooms>>;
beforeAll(async () => {
  rooms = await openRooms();
});
afterAll(() => rooms.close());

test("a page of many reviews is read by its index, and no further", async () => {
  const productId = await rooms.product();
  const { database } = rooms;
  // What the rows refer to need not be there.
  await database.query("set session_replication_role = replica");
  await database.query(
    `insert into review (id, product_id, customer_id, author_name, rating, title, body, created_at)
     select gen_random_uuid(), case when n % 5 = 0 then $1::uuid else gen_random_uuid() end, gen_random_uuid(),
       'Ann', 3, '', '', now() from generate_series(1, 30000) n`,
    [productId],
  );
  await database.query("vacuum analyze review");
  const first = await rooms.reviews.list(rooms.call, { productId, pageSize: 20, pageToken: "" });
  const next = { productId, pageSize: 20, pageToken: first.nextPageToken };
  expect((await rooms.reviews.list(rooms.call, next)).items).toHaveLength(20);
  for (const sent of rooms.sent.slice(-2)) {
    const { indexes, scanned, rows } = await planOf(database, sent);
    expect({ indexes, scanned }).toEqual({ indexes: ["review_product"], scanned: [] });
    expect(rows).toBeLessThanOrEqual(21);
  }
});
