import { sql } from "kysely";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { seedId } from "../generate/seed-id.ts";
import type { PlacedOrder } from "./placed-order.ts";

/** Most ratings are good, as in real shops. */
const RATINGS = [5, 4, 5, 3, 5, 4, 2, 5, 4, 1] as const;
const TEXTS: Readonly<Record<number, readonly [title: string, body: string]>> = {
  5: ["Just right", "Arrived well packed and does all that it should. I would buy it again."],
  4: ["Good", "Does what it should. It could be a little sturdier for the price."],
  3: ["Decent", "Neither better nor worse than others that I had."],
  2: ["Not for me", "It works, but it feels less solid than the picture promises."],
  1: ["Disappointed", "It broke in the first week."],
};
/** Number of order items for each review. */
const ITEMS_PER_REVIEW = 3;
/** Number of review numbers that are reserved for each order. */
const ITEMS_PER_ORDER = 10;

interface Review {
  id: string;
  productId: string;
  customerId: string;
  author: string;
  rating: number;
  title: string;
  body: string;
  createdAt: string;
}

/**
 * Writes reviews of some items of paid orders that are not cancelled, and updates the ratings of their products in the same
 * statement.
 * @param names names of the customers by id
 * @param originMs time of the first run, in milliseconds since 1970
 */
export async function writeReviews(
  tx: Tx,
  orders: readonly PlacedOrder[],
  names: ReadonlyMap<string, string>,
  originMs: number,
): Promise<void> {
  const reviews = orders.flatMap((order) => generateReviews(order, names, originMs));
  const column = <T>(value: (review: Review) => T) => reviews.map(value);
  await tx.query(sql`
    with added as (
      insert into review (id, product_id, customer_id, author_name, rating, title, body, created_at)
      select * from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ productId }) => productId)}::uuid[],
        ${column(({ customerId }) => customerId)}::uuid[], ${column(({ author }) => author)}::text[],
        ${column(({ rating }) => rating)}::smallint[], ${column(({ title }) => title)}::text[],
        ${column(({ body }) => body)}::text[], ${column(({ createdAt }) => createdAt)}::timestamptz[]
      )
      on conflict do nothing
      returning product_id, rating
    ), rated as (
      select product_id, count(*) as count, sum(rating) as sum from added group by product_id
    )
    update product set
      rating_count = rating_count + rated.count,
      rating_sum = rating_sum + rated.sum,
      rating_average = (rating_sum + rated.sum)::double precision / (rating_count + rated.count)
    from rated where product.id = rated.product_id`);
}

function generateReviews(
  { order, customerId, items, history }: PlacedOrder,
  names: ReadonlyMap<string, string>,
  originMs: number,
): Review[] {
  if (order.isCancelled || !history.events.some(({ isPaid }) => isPaid)) return [];
  // Halfway between the order and the first run.
  const createdMs = originMs - order.ageMs / 2;
  return items.flatMap(({ product }, index) => {
    const number = order.number * ITEMS_PER_ORDER + index;
    if (number % ITEMS_PER_REVIEW !== 0) return [];
    const rating = RATINGS[Math.floor(number / ITEMS_PER_REVIEW) % RATINGS.length] ?? 5;
    const [title = "", body = ""] = TEXTS[rating] ?? [];
    const [author = ""] = (names.get(customerId) ?? "").split(" ");
    return [
      {
        // Reviews are listed by id, so the id has the time of the review.
        id: seedId("review", number, createdMs),
        productId: product.id,
        customerId,
        author,
        rating,
        title,
        body,
        createdAt: new Date(createdMs).toISOString(),
      },
    ];
  });
}
