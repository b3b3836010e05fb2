import { sql } from "kysely";
import type { Catalog } from "../catalog/catalog.ts";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import { keysetCondition, keysetOrder, NEWEST_ID_FIRST } from "../infra/postgres/keyset.ts";
import type { Database, Tx } from "../infra/postgres/postgres.ts";
import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import { allOf, prepareDynamic } from "../infra/postgres/statement.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import { pick } from "../kernel/fields.ts";
import type { Ids } from "../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { ownerScope, type Principal, permissionDenied, signInRequired } from "../kernel/principal.ts";
import { IS_PURCHASED, type Orders } from "../order/order.ts";
import { ReviewEntity } from "./review.entity.ts";

/** A customer's rating of a product, with an optional text. */
export interface Review extends ReviewInput {
  id: string;
  /** First word of the customer's name. */
  authorName: string;
  createTime: Date;
}

/** The fields of a review that callers write. */
export interface ReviewInput {
  productId: string;
  /** Stars, 1 to 5. */
  rating: number;
  title: string;
  body: string;
}

/** A request to create a review. */
export interface ReviewCreation {
  review: ReviewInput;
  requestId: string;
  validateOnly: boolean;
}

/** The reviews of products, whose stars add up to the products' ratings. */
export interface Reviews {
  /**
   * Creates the caller's review of a product that the caller bought, and adds it to the product's rating.
   * @throws AppError not_found for an unknown or deleted product; failed_precondition when the caller has no paid
   *   or authorized order with it that is not cancelled; already_exists for a second review; unauthenticated or permission_denied when the
   *   caller has no account
   */
  create(call: Call, creation: ReviewCreation): Promise<Review>;
  /** Returns a page of the reviews of a product, newest first. */
  list(call: Call, request: PageRequest & { productId: string }): Promise<Page<Review>>;
  /**
   * Deletes a review and subtracts it from the product's rating. Allowed to its author, staff and services.
   * @throws AppError not_found; permission_denied for another customer's review
   */
  delete(call: Call, id: string): Promise<void>;
  /**
   * Deletes those reviews of customers whose products the customer has no longer bought, in the transaction that cancels
   * items. It locks the products of the reviews, so call it before other products are locked.
   * @param customerIds empty ones, of guests, have no reviews
   */
  deleteUnverified(tx: Tx, customerIds: readonly string[]): Promise<void>;
}

/** Dependencies of the reviews. */
export interface ReviewOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  catalog: Catalog;
  orders: Orders;
  /** Returns the full name of a customer. */
  readCustomerName(tx: Tx, customerId: string): Promise<string>;
}

interface ReviewRow {
  id: string;
  product_id: string;
  author_name: string;
  rating: number;
  title: string;
  body: string;
  created_at: string;
}

/** A deleted review, whose rating is subtracted from the product's. */
interface DeletedRow {
  product_id: string;
  customer_id: string;
  rating: number;
}

/** Creates the reviews. */
export function createReviews(options: ReviewOptions): Reviews {
  const { db, tokens, catalog } = options;
  return {
    async create(call, { review, requestId, validateOnly }) {
      const customerId = authorOf(call.principal);
      const mutation = { method: "CreateReview", requestId, validateOnly };
      const { result } = await runMutation(db, call, mutation, review, (tx) =>
        writeReview(options, tx, customerId, review),
      );
      return result;
    },

    async list(call, { productId, pageSize, pageToken }) {
      const query = { list: "reviews", productId };
      const size = resolvePageSize(pageSize);
      const where = allOf([
        sql`product_id = ${productId}`,
        keysetCondition(NEWEST_ID_FIRST, tokens.readCursor(pageToken, query)),
      ]);
      const statement = sql<ReviewRow>`
        select id, product_id, author_name, rating, title, body, created_at
        from review where ${where} ${keysetOrder(NEWEST_ID_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.id], reviewFromRow);
    },

    delete(call, id) {
      const scope = ownerScope(call.principal);
      return db.transact(call, async (tx) => {
        // A concurrent delete waits for this row's lock and then finds none.
        const [row] = await tx.query(sql<DeletedRow>`
          delete from review where id = ${id} returning product_id, customer_id, rating`);
        if (row === undefined) throw notFound("review", id);
        // The error rolls the delete back.
        if (scope !== undefined && scope !== row.customer_id) {
          throw permissionDenied("Only its author and staff can delete a review.", "NOT_THE_AUTHOR");
        }
        await changeRating(catalog, tx, row.product_id, { sum: -row.rating, count: -1 });
      });
    },

    async deleteUnverified(tx, customerIds) {
      const ids = customerIds.filter((id) => id !== "");
      if (ids.length === 0) return;
      const rows = await tx.query(sql<DeletedRow>`
        delete from review using (
          select id from review where customer_id = any(${ids}::uuid[]) and not exists (
            select from orders join order_item on order_id = orders.id
            where orders.customer_id = review.customer_id and product_id = review.product_id
              and ${sql.raw(IS_PURCHASED)}
          ) order by id for update
        ) as unverified
        where review.id = unverified.id returning product_id, customer_id, rating`);
      // In the order of the ids, so that concurrent transactions do not deadlock on the products.
      for (const row of rows.toSorted((a, b) => (a.product_id < b.product_id ? -1 : 1))) {
        await changeRating(catalog, tx, row.product_id, { sum: -row.rating, count: -1 });
      }
    },
  };
}

async function writeReview(
  { ids, clock, catalog, orders, readCustomerName }: ReviewOptions,
  tx: Tx,
  customerId: string,
  input: ReviewInput,
): Promise<Review> {
  const { productId, rating, title, body } = input;
  await catalog.assertProductActive(tx, productId);
  if (!(await orders.hasPurchased(tx, customerId, productId))) throw notPurchased(productId);
  const [authorName = ""] = (await readCustomerName(tx, customerId)).trim().split(/\s+/);
  const now = clock.now();
  const id = ids();
  tx.em.create(ReviewEntity, { id, productId, customerId, authorName, rating, title, body, createdAt: now });
  await tx.em.flush().catch((error: unknown) => {
    throw violatesConstraint(error, "review_customer_unique") ? reviewExists(productId) : error;
  });
  await changeRating(catalog, tx, productId, { sum: rating, count: 1 });
  return { id, productId, authorName, rating, title, body, createTime: now };
}

/** Is called after the write of the review in every transaction: with one lock order, none deadlock. */
async function changeRating(
  catalog: Catalog,
  tx: Tx,
  productId: string,
  change: { sum: number; count: 1 | -1 },
): Promise<void> {
  await catalog.addRating(tx, productId, change);
  tx.invalidate(`reviews:${productId}`);
}

/** Returns the customer who writes a review. */
function authorOf(principal: Principal): string {
  if (principal.kind === "account") return principal.customerId;
  if (principal.kind === "anonymous") throw signInRequired();
  throw permissionDenied(
    "Reviews need a signed-in account: API keys cannot write them, and with ACCESS=off they are disabled.",
    "PEOPLE_ONLY",
  );
}

function notPurchased(productId: string): AppError {
  const description = "buy it first; orders that are not paid or were cancelled do not count";
  return new AppError(
    "failed_precondition",
    `You have no paid order with product ${productId}: ${description}.`,
    {
      reason: "NOT_BOUGHT",
      preconditions: [{ type: "NOT_BOUGHT", subject: `products/${productId}`, description }],
    },
  );
}

function reviewExists(productId: string): AppError {
  return new AppError(
    "already_exists",
    `You have already reviewed product ${productId}. Delete that review to write another.`,
    { reason: "REVIEW_EXISTS", resource: { type: "review", name: `products/${productId}` } },
  );
}

function reviewFromRow(row: ReviewRow): Review {
  return {
    ...pick(row, ["id", "rating", "title", "body"]),
    productId: row.product_id,
    authorName: row.author_name,
    createTime: new Date(row.created_at),
  };
}
