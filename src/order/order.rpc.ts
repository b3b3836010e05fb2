import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type OrderSchema,
  OrderState as OrderStateMessage,
  OrderTransition as OrderTransitionMessage,
} from "../../gen/cartwright/order/v1/order_pb.ts";
import type { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Order, Orders } from "./order.ts";
import type { OrderState, OrderTransition } from "./order-state.ts";

const STATES: Record<OrderState, OrderStateMessage> = {
  PENDING: OrderStateMessage.PENDING,
  CANCELLED: OrderStateMessage.CANCELLED,
};
const STATE_NAMES = new Map<OrderStateMessage, OrderState>([
  [OrderStateMessage.PENDING, "PENDING"],
  [OrderStateMessage.CANCELLED, "CANCELLED"],
]);
const TRANSITIONS: Record<OrderTransition, OrderTransitionMessage> = {
  CANCEL: OrderTransitionMessage.CANCEL,
};

/** Creates the handlers of OrderService. */
export function orderRpc(orders: Orders, getCall: (context: HandlerContext) => Call) {
  return {
    async createOrder({ order, requestId, validateOnly }, context) {
      // PostgreSQL returns UUIDs in lower case, and the ids of an order are compared with its rows.
      const input = {
        customerId: order?.customerId.toLowerCase() ?? "",
        promotionId: order?.promotionId.toLowerCase() ?? "",
        items: (order?.items ?? []).map(({ productId, quantity }) => ({
          productId: productId.toLowerCase(),
          quantity,
        })),
      };
      const creation = { order: input, requestId: requestId.toLowerCase(), validateOnly };
      const created = await orders.create(getCall(context), creation);
      return { order: toOrderMessage(created.order), replayed: created.replayed };
    },

    async getOrder({ id }, context) {
      return { order: toOrderMessage(await orders.get(getCall(context), id)) };
    },

    async listOrders({ customerId, state, pageSize, pageToken }, context) {
      const request = { customerId, state: STATE_NAMES.get(state), pageSize, pageToken };
      const page = await orders.list(getCall(context), request);
      return { orders: page.items.map(toOrderMessage), nextPageToken: page.nextPageToken };
    },

    async cancelOrder({ id, etag, requestId }, context) {
      const cancellation = { id: id.toLowerCase(), etag, requestId };
      return { order: toOrderMessage(await orders.cancel(getCall(context), cancellation)) };
    },
  } satisfies ServiceImpl<typeof OrderService>;
}

function toOrderMessage(order: Order): MessageInitShape<typeof OrderSchema> {
  return {
    ...order,
    state: STATES[order.state],
    allowedTransitions: order.allowedTransitions.map((transition) => TRANSITIONS[transition]),
    createTime: timestampFromDate(order.createTime),
    updateTime: timestampFromDate(order.updateTime),
  };
}
