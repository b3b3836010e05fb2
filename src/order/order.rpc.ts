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
import type { Orders } from "./order.ts";
import type { Order } from "./order-read.ts";
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

/** OrderService on the wire: messages in, messages out, no rules. */
export function orderRpc(orders: Orders, callOf: (context: HandlerContext) => Call) {
  return {
    async createOrder({ order, requestId, validateOnly }, context) {
      // PostgreSQL writes UUIDs in lower case, and the ids of an order are compared here.
      const input = {
        customerId: order?.customerId.toLowerCase() ?? "",
        promotionId: order?.promotionId.toLowerCase() ?? "",
        items: (order?.items ?? []).map(({ productId, quantity }) => ({
          productId: productId.toLowerCase(),
          quantity,
        })),
      };
      const created = await orders.create(callOf(context), { order: input, requestId, validateOnly });
      return { order: toMessage(created.order), replayed: created.replayed };
    },

    async getOrder({ id }, context) {
      return { order: toMessage(await orders.get(callOf(context), id)) };
    },

    async listOrders({ state, ...request }, context) {
      const page = await orders.list(callOf(context), { ...request, state: STATE_NAMES.get(state) });
      return { orders: page.items.map(toMessage), nextPageToken: page.nextPageToken };
    },

    async cancelOrder({ id, ...request }, context) {
      return { order: toMessage(await orders.cancel(callOf(context), { ...request, id: id.toLowerCase() })) };
    },
  } satisfies ServiceImpl<typeof OrderService>;
}

function toMessage(order: Order): MessageInitShape<typeof OrderSchema> {
  return {
    ...order,
    state: STATES[order.state],
    allowedTransitions: order.allowedTransitions.map((transition) => TRANSITIONS[transition]),
    createTime: timestampFromDate(order.createTime),
    updateTime: timestampFromDate(order.updateTime),
  };
}
