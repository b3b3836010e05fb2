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
import { invalidField } from "../kernel/errors.ts";
import type { Promotion, PromotionState } from "./promotion.ts";
import type { Purchase, RecordedPurchase } from "./purchase.ts";
import type { PurchaseInput, Tracker } from "./tracker.ts";

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
const DAY_MS = 86_400_000;

/** TrackerService on the wire: messages in, messages out, no rules. */
export function trackerRpc(tracker: Tracker, callOf: (context: HandlerContext) => Call) {
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
        ...{ name, purchaseLimit, purchaseLimitPerUser },
        startTime: startTime && timestampDate(startTime),
        endTime: endTime && timestampDate(endTime),
      };
      const created = await promotions.create(callOf(context), { promotion: input, requestId, validateOnly });
      return { promotion: toPromotion(created) };
    },

    async getPromotion({ id }, context) {
      return { promotion: toPromotion(await promotions.get(callOf(context), id)) };
    },

    async listPromotions({ state, ...request }, context) {
      const page = await promotions.list(callOf(context), { ...request, state: STATE_NAMES.get(state) });
      return { promotions: page.items.map(toPromotion), nextPageToken: page.nextPageToken };
    },

    async endPromotion({ id, ...request }, context) {
      const ended = await promotions.end(callOf(context), { ...request, id: id.toLowerCase() });
      return { promotion: toPromotion(ended) };
    },

    async recordPurchase({ purchase }, context) {
      const [recorded] = await tracker.record(
        callOf(context),
        [fromPurchase(purchase, "purchase")],
        () => "purchase",
      );
      return recorded === undefined ? {} : toRecorded(recorded);
    },

    async batchRecordPurchases({ purchases }, context) {
      const path = (index: number) => `purchases[${index}]`;
      const inputs = purchases.map((purchase, index) => fromPurchase(purchase, path(index)));
      const results = (await tracker.record(callOf(context), inputs, path)).map(toRecorded);
      const duplicateCount = results.filter((result) => result.duplicate).length;
      return { results, duplicateCount, recordedCount: results.length - duplicateCount };
    },

    async listPurchases(request, context) {
      const page = await tracker.listPurchases(callOf(context), request);
      return { purchases: page.items.map(toPurchase), nextPageToken: page.nextPageToken };
    },

    async getPurchaseStats({ timeframe, ...request }, context) {
      const timeframeMs = timeframe === undefined ? DAY_MS : durationMs(timeframe);
      const { asOfTime, ...stats } = await tracker.stats(callOf(context), { ...request, timeframeMs });
      return { ...stats, asOfTime: timestampFromDate(asOfTime) };
    },
  } satisfies ServiceImpl<typeof TrackerService>;
}

function fromPurchase(purchase: PurchaseMessage | undefined, path: string): PurchaseInput {
  if (purchase?.kind === PurchaseKindMessage.REVERSAL) {
    throw invalidField(
      `${path}.kind`,
      "must be SALE: reversals are made by the server when an order is cancelled",
    );
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
    ...{ userId, promotionId: promotionId.toLowerCase(), productId: productId.toLowerCase() },
    // PostgreSQL writes UUIDs in lower case, and event ids are compared here.
    eventId: eventId.toLowerCase(),
    amount: { currencyCode: amount?.currencyCode ?? "", minorUnits: amount?.minorUnits ?? 0n },
    purchaseTime: purchaseTime && timestampDate(purchaseTime),
  };
}

function toRecorded({ purchase, duplicate }: RecordedPurchase) {
  return { purchase: toPurchase(purchase), duplicate };
}

function toPurchase(purchase: Purchase): MessageInitShape<typeof PurchaseSchema> {
  return {
    ...purchase,
    kind: purchase.kind === "SALE" ? PurchaseKindMessage.SALE : PurchaseKindMessage.REVERSAL,
    purchaseTime: timestampFromDate(purchase.purchaseTime),
    createTime: timestampFromDate(purchase.createTime),
  };
}

function toPromotion(promotion: Promotion): MessageInitShape<typeof PromotionSchema> {
  return {
    ...promotion,
    state: STATES[promotion.state],
    startTime: timestampFromDate(promotion.startTime),
    endTime: promotion.endTime && timestampFromDate(promotion.endTime),
    createTime: timestampFromDate(promotion.createTime),
  };
}
