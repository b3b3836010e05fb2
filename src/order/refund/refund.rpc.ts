import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { OrderService, RefundOrderRequest } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import {
  type RefundSchema,
  RefundState as RefundStateMessage,
} from "../../../gen/cartwright/order/v1/refund_pb.ts";
import type { Call } from "../../kernel/call.ts";
import { toOrderMessage } from "../order-messages.rpc.ts";
import type { Refund, RefundState } from "./list-refunds.ts";
import type { RequestedRefund } from "./refund-order.ts";
import type { Refunds } from "./refunds.ts";

const STATES: Readonly<Record<RefundState, RefundStateMessage>> = {
  PENDING: RefundStateMessage.PENDING,
  SUCCEEDED: RefundStateMessage.SUCCEEDED,
  FAILED: RefundStateMessage.FAILED,
};

/** Creates the handlers of OrderService for refunds. */
export function refundRpc(refunds: Refunds, getCall: (context: HandlerContext) => Call) {
  return {
    async refundOrder({ subject, requestId, validateOnly, ...fields }, context) {
      const { id, etag, returnItems, restock, reason, paymentId, reference } = fields;
      const request = {
        id: id.toLowerCase(),
        etag,
        selection: toSelection(subject),
        returnItems,
        restock,
        reason,
        paymentId: paymentId.toLowerCase(),
        reference,
      };
      const { order, refund } = await refunds.refund(getCall(context), request, { requestId, validateOnly });
      return { order: toOrderMessage(order), refund: toRefundMessage(refund) };
    },

    async listRefunds({ id, pageSize, pageToken }, context) {
      const request = { id: id.toLowerCase(), pageSize, pageToken };
      const page = await refunds.list(getCall(context), request);
      return { refunds: page.items.map(toRefundMessage), nextPageToken: page.nextPageToken };
    },
  } satisfies Partial<ServiceImpl<typeof OrderService>>;
}

function toSelection(subject: RefundOrderRequest["subject"]): RequestedRefund | undefined {
  switch (subject.case) {
    case "items": {
      const { items, includeShipping } = subject.value;
      return {
        kind: "ITEMS",
        items: items.map(({ itemId, quantity }) => ({ itemId, quantity })),
        includeShipping,
      };
    }
    case "amount": {
      const { currencyCode, minorUnits } = subject.value;
      return { kind: "AMOUNT", amount: { currencyCode, minorUnits } };
    }
    case "shipping":
      return subject.value ? { kind: "SHIPPING" } : undefined;
    default:
      return undefined;
  }
}

function toRefundMessage(refund: Refund): MessageInitShape<typeof RefundSchema> {
  const { state, createTime, completeTime, ...fields } = refund;
  return {
    ...fields,
    state: STATES[state],
    createTime: timestampFromDate(createTime),
    ...(completeTime && { completeTime: timestampFromDate(completeTime) }),
  };
}
