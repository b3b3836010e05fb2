import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ReviewSchema } from "../../gen/cartwright/review/v1/review_pb.ts";
import type { ReviewService } from "../../gen/cartwright/review/v1/review_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Review, Reviews } from "./review.ts";

/** ReviewService on the wire: messages in, messages out, no rules. */
export function reviewRpc(reviews: Reviews, callOf: (context: HandlerContext) => Call) {
  return {
    async createReview({ review, requestId, validateOnly }, context) {
      const { productId = "", rating = 0, title = "", body = "" } = review ?? {};
      const input = { productId: productId.toLowerCase(), rating, title, body };
      const change = { review: input, requestId, validateOnly };
      return { review: toMessage(await reviews.create(callOf(context), change)) };
    },

    async listReviews({ productId, ...request }, context) {
      const query = { ...request, productId: productId.toLowerCase() };
      const page = await reviews.list(callOf(context), query);
      return { reviews: page.items.map(toMessage), nextPageToken: page.nextPageToken };
    },

    async deleteReview({ id }, context) {
      await reviews.remove(callOf(context), id.toLowerCase());
      return {};
    },
  } satisfies ServiceImpl<typeof ReviewService>;
}

function toMessage(review: Review): MessageInitShape<typeof ReviewSchema> {
  return { ...review, createTime: timestampFromDate(review.createTime) };
}
