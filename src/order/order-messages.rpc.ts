import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  FulfillmentState as FulfillmentStateMessage,
  type OrderSchema,
  OrderState as OrderStateMessage,
  OrderTotalType,
  OrderTransition as OrderTransitionMessage,
  PaymentState as PaymentStateMessage,
} from "../../gen/cartwright/order/v1/order_pb.ts";
import type { QuoteSchema } from "../../gen/cartwright/order/v1/quote_pb.ts";
import type { Order } from "./order.ts";
import type { OrderTotals } from "./order-types.ts";
import {
  FULFILLMENT_STATES as FULFILLMENT_STATE_NAMES,
  type FulfillmentState,
  type OrderState,
  PAYMENT_STATES as PAYMENT_STATE_NAMES,
  type PaymentState,
} from "./state/order-state.ts";
import type { OrderTransition } from "./state/transitions.ts";

export const ORDER_STATES: Readonly<Record<OrderState, OrderStateMessage>> = {
  PENDING: OrderStateMessage.PENDING,
  CONFIRMED: OrderStateMessage.CONFIRMED,
  CANCELLED: OrderStateMessage.CANCELLED,
  EXPIRED: OrderStateMessage.EXPIRED,
  COMPLETED: OrderStateMessage.COMPLETED,
};
export const PAYMENT_STATES: Readonly<Record<PaymentState, PaymentStateMessage>> = {
  UNPAID: PaymentStateMessage.UNPAID,
  AUTHORIZED: PaymentStateMessage.AUTHORIZED,
  PAID: PaymentStateMessage.PAID,
  PARTIALLY_REFUNDED: PaymentStateMessage.PARTIALLY_REFUNDED,
  REFUNDED: PaymentStateMessage.REFUNDED,
  FAILED: PaymentStateMessage.FAILED,
};
export const FULFILLMENT_STATES: Readonly<Record<FulfillmentState, FulfillmentStateMessage>> = {
  UNFULFILLED: FulfillmentStateMessage.UNFULFILLED,
  PARTIALLY_FULFILLED: FulfillmentStateMessage.PARTIALLY_FULFILLED,
  FULFILLED: FulfillmentStateMessage.FULFILLED,
  DELIVERED: FulfillmentStateMessage.DELIVERED,
};
const TRANSITIONS: Readonly<Record<OrderTransition, OrderTransitionMessage>> = {
  CANCEL: OrderTransitionMessage.CANCEL,
  MARK_PAID: OrderTransitionMessage.MARK_PAID,
  SHIP: OrderTransitionMessage.SHIP,
  DELIVER: OrderTransitionMessage.DELIVER,
  CANCEL_ITEMS: OrderTransitionMessage.CANCEL_ITEMS,
  RETURN_ITEMS: OrderTransitionMessage.RETURN_ITEMS,
  SET_EXPIRE_TIME: OrderTransitionMessage.SET_EXPIRE_TIME,
};

/** Returns the state that a filter names; undefined for UNSPECIFIED, which matches all states. */
export function orderStateOf(message: OrderStateMessage): OrderState | undefined {
  return ORDER_STATE_NAMES.find((state) => ORDER_STATES[state] === message);
}

/** Returns the payment state that a filter names; undefined for UNSPECIFIED. */
export function paymentStateOf(message: PaymentStateMessage): PaymentState | undefined {
  return PAYMENT_STATE_NAMES.find((state) => PAYMENT_STATES[state] === message);
}

/** Returns the fulfillment state that a filter names; undefined for UNSPECIFIED. */
export function fulfillmentStateOf(message: FulfillmentStateMessage): FulfillmentState | undefined {
  return FULFILLMENT_STATE_NAMES.find((state) => FULFILLMENT_STATES[state] === message);
}

const ORDER_STATE_NAMES: readonly OrderState[] = [
  "PENDING",
  "CONFIRMED",
  "CANCELLED",
  "EXPIRED",
  "COMPLETED",
];

/** Returns the message of an order. */
export function toOrderMessage(order: Order): MessageInitShape<typeof OrderSchema> {
  const { paid, totals } = order;
  return {
    id: order.id,
    customerId: order.customerId,
    state: ORDER_STATES[order.state],
    items: order.items,
    totalPrice: order.totalPrice,
    promotionId: order.promotionId,
    allowedTransitions: order.allowedTransitions.map((transition) => TRANSITIONS[transition]),
    etag: order.etag,
    createTime: timestampFromDate(order.createTime),
    updateTime: timestampFromDate(order.updateTime),
    ...(order.expireTime && { expireTime: timestampFromDate(order.expireTime) }),
    paymentState: PAYMENT_STATES[order.paymentState],
    fulfillmentState: FULFILLMENT_STATES[order.fulfillmentState],
    ...toTotalMessages(totals, paid.currencyCode),
    amountDue: order.amountDue,
    ...(order.shippingAddress && { shippingAddress: order.shippingAddress }),
    ...(order.billingAddress && { billingAddress: order.billingAddress }),
    email: order.email,
    note: order.note,
    ...(order.shippingOption && { shippingOption: order.shippingOption }),
  };
}

/** Returns the messages of totals. */
export function toTotalMessages(
  { subtotal, discount, shipping, tax, isTaxIncluded, total }: OrderTotals,
  currencyCode: string,
): Pick<MessageInitShape<typeof QuoteSchema>, "totals" | "includedTax"> {
  const money = (minorUnits: bigint) => ({ currencyCode, minorUnits });
  return {
    totals: [
      { type: OrderTotalType.SUBTOTAL, amount: money(subtotal) },
      { type: OrderTotalType.DISCOUNT, amount: money(discount) },
      { type: OrderTotalType.SHIPPING, amount: money(shipping) },
      { type: OrderTotalType.TAX, amount: money(isTaxIncluded ? 0n : tax) },
      { type: OrderTotalType.TOTAL, amount: money(total) },
    ],
    includedTax: money(isTaxIncluded ? tax : 0n),
  };
}
