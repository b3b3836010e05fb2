import type { ClientBase } from "pg";
import { seedId } from "../generate/seed-id.ts";
import type { PlacedOrder } from "./orders.ts";

/** Most are content, as in shops. */
const RATINGS = [5, 4, 5, 3, 5, 4, 2, 5, 4, 1] as const;
const WORDS: Readonly<Record<number, readonly [title: string, body: string]>> = {
  5: ["Just right", "Arrived well packed and does all that it should. I would buy it again."],
  4: ["Good", "Does what it should. It could be a little sturdier for the price."],
  3: ["Decent", "Neither better nor worse than others that I had."],
  2: ["Not for me", "It works, but it feels less solid than the picture promises."],
  1: ["Disappointed", "It broke in the first week."],
};
/** One of so many things that are bought is reviewed. */
const BOUGHT_PER_REVIEW = 3;
const ITEMS_PER_ORDER = 10;

/**
 * Writes what customers think of some of what they bought, in the caller's transaction, with the ratings that come of
 * it.
 * @param names of the customers, by their ids
 * @param originMs the time of the first run, milliseconds since 1970
 */
export async function writeReviews(
  client: ClientBase,
  orders: readonly PlacedOrder[],
  names: ReadonlyMap<string, string>,
  originMs: number,
): Promise<void> {
  const reviews = orders
    .filter((order) => order.cancelledAt === undefined)
    .flatMap(({ order, customerId, items }) =>
      items.map(({ product }, index) => ({
        number: order.number * ITEMS_PER_ORDER + index,
        customerId,
        productId: product.id,
        // Half the time that has passed since.
        atMs: originMs - order.ageMs / 2,
      })),
    )
    .filter(({ number }) => number % BOUGHT_PER_REVIEW === 0)
    .map((review) => {
      const rating = RATINGS[Math.floor(review.number / BOUGHT_PER_REVIEW) % RATINGS.length] ?? 5;
      const [title = "", body = ""] = WORDS[rating] ?? [];
      const [author = ""] = (names.get(review.customerId) ?? "").split(" ");
      return { ...review, rating, title, body, author };
    });
  const column = <T>(value: (review: (typeof reviews)[number]) => T) => reviews.map(value);
  await client.query(
    `with written as (
       insert into review (id, product_id, customer_id, author_name, rating, title, body, created_at)
       select * from unnest(
         $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::timestamptz[]
       )
       on conflict do nothing
       returning product_id, rating
     ), rated as (
       select product_id, count(*) as count, sum(rating) as sum from written group by product_id
     )
     update product set
       rating_count = rating_count + rated.count,
       rating_sum = rating_sum + rated.sum,
       rating_average = (rating_sum + rated.sum)::double precision / (rating_count + rated.count)
     from rated where product.id = rated.product_id`,
    [
      // They are listed by their ids, newest first.
      column(({ number, atMs }) => seedId("review", number, atMs)),
      column(({ productId }) => productId),
      column(({ customerId }) => customerId),
      column(({ author }) => author),
      column(({ rating }) => rating),
      column(({ title }) => title),
      column(({ body }) => body),
      column(({ atMs }) => new Date(atMs).toISOString()),
    ],
  );
}
