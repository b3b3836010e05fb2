import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ReviewSchema } from "../../gen/cartwright/review/v1/review_pb.ts";
import type { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Review, Reviews } from "./review.ts";

/** Creates the handlers of ReviewService. */
export function reviewRpc(reviews: Reviews, getCall: (context: HandlerContext) => Call) {
  return {
    async createReview({ review, requestId, validateOnly }, context) {
      const { productId = "", rating = 0, title = "", body = "" } = review ?? {};
      const input = { productId: productId.toLowerCase(), rating, title, body };
      const creation = { review: input, requestId, validateOnly };
      return { review: toReviewMessage(await reviews.create(getCall(context), creation)) };
    },

    async listReviews({ productId, pageSize, pageToken }, context) {
      const request = { productId: productId.toLowerCase(), pageSize, pageToken };
      const page = await reviews.list(getCall(context), request);
      return { reviews: page.items.map(toReviewMessage), nextPageToken: page.nextPageToken };
    },

    async deleteReview({ id }, context) {
      await reviews.delete(getCall(context), id.toLowerCase());
      return {};
    },
  } satisfies ServiceImpl<typeof ReviewService>;
}

function toReviewMessage(review: Review): MessageInitShape<typeof ReviewSchema> {
  return { ...review, createTime: timestampFromDate(review.createTime) };
}
