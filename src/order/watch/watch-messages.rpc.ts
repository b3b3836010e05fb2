import { create } from "@bufbuild/protobuf";
import {
  type WatchOrderResponse,
  WatchOrderResponseSchema,
} from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import { toEventMessage } from "../event-messages.rpc.ts";
import type { OrderUpdate } from "../order.ts";
import { toOrderMessage } from "../order-messages.rpc.ts";

/** Watchers of an order share an update, and so its message. */
const messages = new WeakMap<OrderUpdate, WatchOrderResponse>();

/** Returns the message of an update. */
export function toWatchMessage(update: OrderUpdate): WatchOrderResponse {
  const existing = messages.get(update);
  if (existing !== undefined) return existing;
  const message = create(WatchOrderResponseSchema, {
    events: update.events.map(toEventMessage),
    order: toOrderMessage(update.order),
  });
  messages.set(update, message);
  return message;
}
