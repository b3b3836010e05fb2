import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type PromotionSchema,
  PromotionState as PromotionStateMessage,
  PurchaseKind as PurchaseKindMessage,
  type Purchase as PurchaseMessage,
  type PurchaseSchema,
} from "../../gen/cartwright/tracker/v1/tracker_pb.ts";
import type { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { DAY_MS } from "../kernel/durations.ts";
import { invalidField } from "../kernel/errors.ts";
import type {
  Promotion,
  PromotionState,
  Purchase,
  PurchaseInput,
  RecordedPurchase,
  Tracker,
} from "./tracker.ts";

const STATES: Record<PromotionState, PromotionStateMessage> = {
  SCHEDULED: PromotionStateMessage.SCHEDULED,
  ACTIVE: PromotionStateMessage.ACTIVE,
  ENDED: PromotionStateMessage.ENDED,
};
const STATE_NAMES = new Map<PromotionStateMessage, PromotionState>([
  [PromotionStateMessage.SCHEDULED, "SCHEDULED"],
  [PromotionStateMessage.ACTIVE, "ACTIVE"],
  [PromotionStateMessage.ENDED, "ENDED"],
]);
const DEFAULT_TIMEFRAME_MS = DAY_MS;

/** Creates the handlers of TrackerService. */
export function trackerRpc(tracker: Tracker, getCall: (context: HandlerContext) => Call) {
  const { promotions } = tracker;
  return {
    async createPromotion({ promotion, requestId, validateOnly }, context) {
      const {
        name = "",
        startTime,
        endTime,
        purchaseLimit = 0n,
        purchaseLimitPerUser = 0n,
      } = promotion ?? {};
      const input = {
        name,
        purchaseLimit,
        purchaseLimitPerUser,
        startTime: startTime && timestampDate(startTime),
        endTime: endTime && timestampDate(endTime),
      };
      const created = await promotions.create(getCall(context), {
        promotion: input,
        requestId,
        validateOnly,
      });
      return { promotion: toPromotionMessage(created) };
    },

    async getPromotion({ id }, context) {
      return { promotion: toPromotionMessage(await promotions.get(getCall(context), id)) };
    },

    async listPromotions({ state, pageSize, pageToken }, context) {
      const request = { state: STATE_NAMES.get(state), pageSize, pageToken };
      const page = await promotions.list(getCall(context), request);
      return { promotions: page.items.map(toPromotionMessage), nextPageToken: page.nextPageToken };
    },

    async endPromotion({ id, etag, requestId }, context) {
      const ended = await promotions.end(getCall(context), { id: id.toLowerCase(), etag, requestId });
      return { promotion: toPromotionMessage(ended) };
    },

    async recordPurchase({ purchase }, context) {
      const [recorded] = await tracker.record(
        getCall(context),
        [fromPurchase(purchase, "purchase")],
        () => "purchase",
      );
      return recorded === undefined ? {} : toRecordedMessage(recorded);
    },

    async batchRecordPurchases({ purchases }, context) {
      const path = (index: number) => `purchases[${index}]`;
      const inputs = purchases.map((purchase, index) => fromPurchase(purchase, path(index)));
      const results = (await tracker.record(getCall(context), inputs, path)).map(toRecordedMessage);
      const duplicateCount = results.filter((result) => result.duplicate).length;
      return { results, duplicateCount, recordedCount: results.length - duplicateCount };
    },

    async listPurchases(request, context) {
      const page = await tracker.listPurchases(getCall(context), request);
      return { purchases: page.items.map(toPurchaseMessage), nextPageToken: page.nextPageToken };
    },

    async getPurchaseStats({ timeframe, ...request }, context) {
      const timeframeMs = timeframe === undefined ? DEFAULT_TIMEFRAME_MS : durationMs(timeframe);
      const { asOfTime, ...stats } = await tracker.getStats(getCall(context), { ...request, timeframeMs });
      return { ...stats, asOfTime: timestampFromDate(asOfTime) };
    },
  } satisfies ServiceImpl<typeof TrackerService>;
}

function fromPurchase(purchase: PurchaseMessage | undefined, path: string): PurchaseInput {
  if (purchase?.kind === PurchaseKindMessage.REVERSAL) {
    throw invalidField(`${path}.kind`, "must be SALE. Cancelling an order records its reversals.");
  }
  const {
    eventId = "",
    userId = "",
    promotionId = "",
    productId = "",
    amount,
    purchaseTime,
  } = purchase ?? {};
  return {
    // PostgreSQL returns UUIDs in lower case, and the ids are compared with its rows.
    eventId: eventId.toLowerCase(),
    promotionId: promotionId.toLowerCase(),
    productId: productId.toLowerCase(),
    userId,
    amount: { currencyCode: amount?.currencyCode ?? "", minorUnits: amount?.minorUnits ?? 0n },
    purchaseTime: purchaseTime && timestampDate(purchaseTime),
  };
}

function toRecordedMessage({ purchase, duplicate }: RecordedPurchase) {
  return { purchase: toPurchaseMessage(purchase), duplicate };
}

function toPurchaseMessage(purchase: Purchase): MessageInitShape<typeof PurchaseSchema> {
  return {
    ...purchase,
    kind: purchase.kind === "SALE" ? PurchaseKindMessage.SALE : PurchaseKindMessage.REVERSAL,
    purchaseTime: timestampFromDate(purchase.purchaseTime),
    createTime: timestampFromDate(purchase.createTime),
  };
}

function toPromotionMessage(promotion: Promotion): MessageInitShape<typeof PromotionSchema> {
  return {
    ...promotion,
    state: STATES[promotion.state],
    startTime: timestampFromDate(promotion.startTime),
    endTime: promotion.endTime && timestampFromDate(promotion.endTime),
    createTime: timestampFromDate(promotion.createTime),
  };
}
