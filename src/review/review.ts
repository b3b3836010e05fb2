import type { InferEntity, RequiredEntityData } from "@mikro-orm/postgresql";
import { sql } from "kysely";
import type { Catalog } from "../catalog/catalog.ts";
import { runMutation } from "../infra/postgres/idempotency/run-mutation.ts";
import { type Database, prepared, type Tx } from "../infra/postgres/postgres.ts";
import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { AppError, notFound } from "../kernel/errors.ts";
import { pick } from "../kernel/fields.ts";
import type { Ids } from "../kernel/ids.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../kernel/page.ts";
import { ownerScope, type Principal, permissionDenied, signInRequired } from "../kernel/principal.ts";
import type { Orders } from "../order/order.ts";
import { ReviewEntity } from "./review.entity.ts";

/** What a customer thinks of a product. */
export interface Review {
  id: string;
  productId: string;
  authorName: string;
  /** Stars, 1 to 5. */
  rating: number;
  title: string;
  body: string;
  createTime: Date;
}

/** What a customer writes of a product. */
export interface ReviewInput {
  productId: string;
  /** Stars, 1 to 5. */
  rating: number;
  title: string;
  body: string;
}

interface ReadRow {
  id: string;
  product_id: string;
  author_name: string;
  rating: number;
  title: string;
  body: string;
  created_at: string;
}

// A page begins before an id; the first one before the highest there is.
const LIST = prepared(`
  select id, product_id, author_name, rating, title, body, created_at
  from review where product_id = $1 and id < $2 order by id desc limit $3`);
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** What the reviews are made of. */
export interface ReviewOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  tokens: PageTokens;
  catalog: Catalog;
  orders: Orders;
  /** What the customer is called, of whose name a review shows the first word. */
  authorNameOf(tx: Tx, customerId: string): Promise<string>;
}

/** Reviews of products by those who bought them. They make the products' ratings. */
export function createReviews(options: ReviewOptions) {
  const { db, ids, clock, tokens, catalog, orders, authorNameOf } = options;

  async function write(tx: Tx, customerId: string, input: ReviewInput): Promise<Review> {
    const { productId, rating } = input;
    await catalog.assertActive(tx, productId);
    if (!(await orders.hasBought(tx, customerId, productId))) throw notBought(productId);
    const [authorName = ""] = (await authorNameOf(tx, customerId)).trim().split(/\s+/);
    const review = { ...input, id: ids(), authorName };
    const now = clock.now();
    await insert(tx, { ...review, customerId, createdAt: now });
    await count(tx, productId, rating, 1);
    return { ...review, createTime: now };
  }

  /** Comes after the review's own row, in each transaction: two never wait for each other in a circle. */
  async function count(tx: Tx, productId: string, rating: number, by: 1 | -1): Promise<void> {
    await catalog.addRating(tx, productId, { sum: by * rating, count: by });
    tx.invalidate(`reviews:${productId}`);
  }

  return {
    /**
     * Writes a review of a product that the caller bought, once, and counts its rating.
     * @throws NOT_FOUND for a product that is not sold; FAILED_PRECONDITION when they have not bought it;
     *   ALREADY_EXISTS when they have reviewed it; PERMISSION_DENIED for whoever is not a person
     */
    async create(
      call: Call,
      { review, ...how }: { review: ReviewInput; requestId: string; validateOnly: boolean },
    ): Promise<Review> {
      const customerId = customerOf(call.principal);
      const { result } = await runMutation(db, call, { ...how, method: "CreateReview" }, review, (tx) =>
        write(tx, customerId, review),
      );
      return result;
    },

    /** Reviews of a product, newest first. */
    async list(
      call: Call,
      { productId, ...page }: PageRequest & { productId: string },
    ): Promise<Page<Review>> {
      const query = { list: "reviews", productId };
      const size = resolvePageSize(page.pageSize);
      const [before = HIGHEST_ID] = tokens.readCursor(page.pageToken, query) ?? [];
      const rows = await db.read<ReadRow>(call, LIST, [productId, before, size + 1]);
      return tokens.createPage(rows, size, query, (row) => [row.id], fromRow);
    },

    /**
     * For orders, in the transaction that calls one off: a customer's reviews of what they have no order with any
     * more go, and their ratings with them.
     */
    async withdraw(tx: Tx, customerId: string): Promise<void> {
      if (customerId === "") return;
      const rows = await tx.query(sql<{ product_id: string; rating: number }>`
        delete from review where customer_id = ${customerId} and not exists (
          select from orders join order_item on order_id = orders.id
          where orders.customer_id = review.customer_id and product_id = review.product_id
            and state <> 'CANCELLED'
        ) returning product_id, rating`);
      for (const row of rows.toSorted((a, b) => (a.product_id < b.product_id ? -1 : 1))) {
        await count(tx, row.product_id, row.rating, -1);
      }
    },

    /**
     * Deletes a review and takes its rating back. Its author may, and whoever is confined to nobody's things.
     * @throws NOT_FOUND when there is none; PERMISSION_DENIED for somebody else's, which everyone can see
     */
    remove(call: Call, id: string): Promise<void> {
      const author = ownerScope(call.principal);
      return db.transact(call, async (tx) => {
        // Of two who delete it at once the second waits here, and then finds none.
        const [row] = await tx.query(sql<{ product_id: string; customer_id: string; rating: number }>`
          delete from review where id = ${id} returning product_id, customer_id, rating`);
        if (row === undefined) throw notFound("review", id);
        // Thrown, it undoes the delete.
        if (author !== undefined && author !== row.customer_id) {
          throw permissionDenied(
            "This review is somebody else's: its author and staff may delete it.",
            "NOT_THE_AUTHOR",
          );
        }
        await count(tx, row.product_id, row.rating, -1);
      });
    },
  };
}

/** The reviews as other rooms see them. */
export type Reviews = ReturnType<typeof createReviews>;

/** Whoever writes is somebody: a service, or a shop that asks nobody who they are, has no opinion. */
function customerOf(principal: Principal): string {
  if (principal.kind === "account") return principal.customerId;
  if (principal.kind === "anonymous") throw signInRequired();
  throw permissionDenied(
    "A review needs an author: somebody who has signed in, in a shop whose ACCESS is on.",
    "PEOPLE_ONLY",
  );
}

function notBought(productId: string): AppError {
  const description = "buy it first; an order that is cancelled does not count";
  return new AppError("failed_precondition", `You have no order with product ${productId}: ${description}.`, {
    reason: "NOT_BOUGHT",
    preconditions: [{ type: "NOT_BOUGHT", subject: `products/${productId}`, description }],
  });
}

async function insert(tx: Tx, row: RequiredEntityData<InferEntity<typeof ReviewEntity>>): Promise<void> {
  tx.em.create(ReviewEntity, row);
  await tx.em.flush().catch((error: unknown) => {
    if (!violatesConstraint(error, "review_customer_unique")) throw error;
    throw new AppError(
      "already_exists",
      `You have reviewed product ${row.productId}. Delete that review to write another.`,
      { reason: "REVIEW_EXISTS", resource: { type: "review", name: `products/${row.productId}` } },
    );
  });
}

function fromRow(row: ReadRow): Review {
  return {
    ...pick(row, ["id", "rating", "title", "body"]),
    productId: row.product_id,
    authorName: row.author_name,
    createTime: new Date(row.created_at),
  };
}
