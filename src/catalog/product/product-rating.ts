import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { notFound } from "../../kernel/errors.ts";
import { productTags } from "./product-row.ts";

/** A change of a product's ratings. */
export interface RatingChange {
  /** Stars that are added; negative when reviews are removed. */
  sum: number;
  /** Reviews that are added; negative when they are removed. */
  count: number;
}

/**
 * Checks that a product exists and is not deleted.
 * @throws AppError not_found
 */
export async function assertProductActive(tx: Tx, productId: string): Promise<void> {
  const [row] = await tx.query(sql<{ active: boolean }>`select active from product where id = ${productId}`);
  if (row?.active !== true) throw notFound("product", productId);
}

/**
 * Adds reviews to the rating of a product, deleted or not. Its etag stays the same. The row stays locked until the
 * transaction ends, so call this last.
 * @throws AppError not_found
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
