import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { OrderActor } from "../../gen/cartwright/order/v1/order_actor_pb.ts";
import {
  type OrderEventSchema,
  OrderEventType as OrderEventTypeMessage,
  PaymentMethod as PaymentMethodMessage,
} from "../../gen/cartwright/order/v1/order_event_pb.ts";
import type { ActorKind, OrderEvent, PaymentMethod } from "./order.ts";
import { FULFILLMENT_STATES, ORDER_STATES, PAYMENT_STATES } from "./order-messages.rpc.ts";
import type { OrderEventType } from "./state/transitions.ts";

const TYPES: Readonly<Record<OrderEventType, OrderEventTypeMessage>> = {
  PLACED: OrderEventTypeMessage.PLACED,
  CANCELLED: OrderEventTypeMessage.CANCELLED,
  PAID: OrderEventTypeMessage.PAID,
  SHIPPED: OrderEventTypeMessage.SHIPPED,
  DELIVERED: OrderEventTypeMessage.DELIVERED,
  ITEMS_CANCELLED: OrderEventTypeMessage.ITEMS_CANCELLED,
  ITEMS_RETURNED: OrderEventTypeMessage.ITEMS_RETURNED,
  EXPIRE_TIME_SET: OrderEventTypeMessage.EXPIRE_TIME_SET,
  EXPIRY_STARTED: OrderEventTypeMessage.EXPIRY_STARTED,
  EXPIRED: OrderEventTypeMessage.EXPIRED,
  EXPIRY_ABORTED: OrderEventTypeMessage.EXPIRY_ABORTED,
  FULFILLMENT_CHANGED: OrderEventTypeMessage.FULFILLMENT_CHANGED,
  PAYMENT_AUTHORIZED: OrderEventTypeMessage.PAYMENT_AUTHORIZED,
  PAYMENT_FAILED: OrderEventTypeMessage.PAYMENT_FAILED,
  PAYMENT_RELEASED: OrderEventTypeMessage.PAYMENT_RELEASED,
  REFUND_REQUESTED: OrderEventTypeMessage.REFUND_REQUESTED,
  REFUNDED: OrderEventTypeMessage.REFUNDED,
  REFUND_FAILED: OrderEventTypeMessage.REFUND_FAILED,
  DISPUTED: OrderEventTypeMessage.DISPUTED,
  DISPUTE_CLOSED: OrderEventTypeMessage.DISPUTE_CLOSED,
};
/** The messages of actors. */
export const ACTORS: Readonly<Record<ActorKind, OrderActor>> = {
  CUSTOMER: OrderActor.CUSTOMER,
  GUEST: OrderActor.GUEST,
  STAFF: OrderActor.STAFF,
  SERVICE: OrderActor.SERVICE,
  SYSTEM: OrderActor.SYSTEM,
  UNKNOWN: OrderActor.UNSPECIFIED,
};
const METHODS: Readonly<Record<PaymentMethod, PaymentMethodMessage>> = {
  CASH: PaymentMethodMessage.CASH,
  BANK_TRANSFER: PaymentMethodMessage.BANK_TRANSFER,
};

/** Returns the payment method of a valid request. */
export function paymentMethodOf(message: PaymentMethodMessage): PaymentMethod {
  return message === PaymentMethodMessage.CASH ? "CASH" : "BANK_TRANSFER";
}

/** Returns the message of an event. */
export function toEventMessage(event: OrderEvent): MessageInitShape<typeof OrderEventSchema> {
  return {
    sequence: BigInt(event.sequence),
    type: TYPES[event.type],
    actor: ACTORS[event.actor],
    actorId: event.actorId,
    reason: event.reason,
    state: ORDER_STATES[event.state],
    paymentState: PAYMENT_STATES[event.paymentState],
    fulfillmentState: FULFILLMENT_STATES[event.fulfillmentState],
    items: event.items,
    restocked: event.restocked,
    fulfillmentId: event.fulfillmentId,
    carrier: event.carrier,
    trackingNumber: event.trackingNumber,
    trackingUri: event.trackingUri,
    ...(event.amount && { amount: event.amount }),
    paymentReference: event.paymentReference,
    ...(event.paymentMethod && { paymentMethod: METHODS[event.paymentMethod] }),
    ...(event.expireTime && { expireTime: timestampFromDate(event.expireTime) }),
    createTime: timestampFromDate(event.createTime),
    paymentId: event.paymentId,
    refundId: event.refundId,
  };
}
