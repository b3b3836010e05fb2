import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import {
  ACCOUNTS,
  type AccessRow,
  ALL,
  accessRow,
  DENIED,
  FAILED,
  type Fixtures,
  OWNER,
} from "./access-row.ts";
import { createPaidOrder } from "./order-rows.ts";

/** Creates a review by the owner. */
async function createReview(fixtures: Fixtures): Promise<string> {
  const { productId } = await createPaidOrder(fixtures);
  const { review } = await fixtures.owner.reviews.createReview({ review: { productId, rating: 4 } });
  return review?.id ?? "";
}

/** The methods of ReviewService. */
export const reviewRows: Readonly<Record<string, AccessRow>> = {
  "ReviewService/CreateReview": accessRow(
    // Only the owner has bought the product.
    { ...ACCOUNTS, otherCustomer: FAILED, staff: FAILED, admin: FAILED },
    async (fixtures) => {
      const { productId } = await createPaidOrder(fixtures);
      return ({ reviews }) => reviews.createReview({ review: { productId, rating: 5 } });
    },
  ),
  "ReviewService/ListReviews": accessRow(ALL, async ({ admin }) => {
    const productId = await makeProduct(admin, { stock: 1n });
    return ({ reviews }) => reviews.listReviews({ productId });
  }),
  "ReviewService/DeleteReview": accessRow(
    // Reviews are public, so that NOT_FOUND would hide nothing.
    { ...OWNER, otherCustomer: DENIED },
    async (fixtures) => {
      const id = await createReview(fixtures);
      return ({ reviews }) => reviews.deleteReview({ id });
    },
    Scope.REVIEWS_WRITE,
  ),
};
