import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { notFound } from "../../kernel/errors.ts";
import { productTags } from "./product.ts";

/** How the ratings of a product change: the stars that come or go, and of how many reviews. */
export interface RatingChange {
  sum: number;
  count: number;
}

/** The product is sold. NOT_FOUND when there is none, or it is deleted. */
export async function assertActive(tx: Tx, productId: string): Promise<void> {
  const [row] = await tx.query(sql<{ active: boolean }>`select active from product where id = ${productId}`);
  if (row?.active !== true) throw notFound("product", productId);
}

/**
 * Counts reviews into the rating of a product, deleted or not. Its etag stays: nobody's change of the product
 * goes stale by it. The row is locked until the caller's transaction ends, so this comes last.
 * @throws NOT_FOUND when there is no such product
 */
export async function addRating(tx: Tx, productId: string, { sum, count }: RatingChange): Promise<void> {
  const [row] = await tx.query(sql<{ sku: string }>`
    update product set
      rating_sum = rating_sum + ${sum}::bigint,
      rating_count = rating_count + ${count}::bigint,
      rating_average = case rating_count + ${count}::bigint when 0 then 0
        else (rating_sum + ${sum}::bigint)::double precision / (rating_count + ${count}::bigint) end
    where id = ${productId} returning sku`);
  if (row === undefined) throw notFound("product", productId);
  tx.invalidate(...productTags({ id: productId, sku: row.sku }), "catalog");
}
