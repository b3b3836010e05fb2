import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  FulfillmentState as FulfillmentStateMessage,
  type OrderItem as OrderItemMessage,
  type Order as OrderMessage,
  OrderState as OrderStateMessage,
  type OrderTotal as OrderTotalMessage,
  OrderTotalType,
  OrderTransition as OrderTransitionMessage,
  PaymentState as PaymentStateMessage,
  type ShippingOption as ShippingOptionMessage,
} from "../../gen/cartwright/order/v1/order_pb.ts";
import type { Money as MoneyMessage } from "../../gen/cartwright/type/v1/money_pb.ts";
import type { PostalAddress as PostalAddressMessage } from "../../gen/cartwright/type/v1/postal_address_pb.ts";
import type { Money } from "../kernel/money.ts";
import type { PostalAddress } from "./address/postal-address.ts";
import type { Order } from "./order.ts";
import type { OrderItem, OrderTotals, ShippingOption } from "./order-types.ts";
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
  PAY: OrderTransitionMessage.PAY,
  REFUND: OrderTransitionMessage.REFUND,
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

/**
 * Returns the message of an order, complete: `create` would copy it with all of its amounts, which takes as long as
 * encoding it.
 */
export function toOrderMessage(order: Order): OrderMessage {
  const { paid, refunded, totals, shippingAddress, billingAddress, shippingOption, expireTime } = order;
  return {
    $typeName: "cartwright.order.v1.Order",
    id: order.id,
    customerId: order.customerId,
    state: ORDER_STATES[order.state],
    items: order.items.map(toItemMessage),
    totalPrice: toMoneyMessage(order.totalPrice),
    promotionId: order.promotionId,
    allowedTransitions: order.allowedTransitions.map((transition) => TRANSITIONS[transition]),
    etag: order.etag,
    createTime: timestampFromDate(order.createTime),
    updateTime: timestampFromDate(order.updateTime),
    expireTime: expireTime && timestampFromDate(expireTime),
    paymentState: PAYMENT_STATES[order.paymentState],
    fulfillmentState: FULFILLMENT_STATES[order.fulfillmentState],
    ...toTotalMessages(totals, paid.currencyCode),
    amountDue: toMoneyMessage(order.amountDue),
    paidAmount: toMoneyMessage(paid),
    refundedAmount: toMoneyMessage(refunded),
    shippingAddress: shippingAddress && toAddressMessage(shippingAddress),
    billingAddress: billingAddress && toAddressMessage(billingAddress),
    email: order.email,
    note: order.note,
    shippingOption: shippingOption && toShippingOptionMessage(shippingOption),
  };
}

/** Returns the messages of totals. */
export function toTotalMessages(
  { subtotal, discount, shipping, tax, isTaxIncluded, total }: OrderTotals,
  currencyCode: string,
): Pick<OrderMessage, "totals" | "includedTax"> {
  const money = (minorUnits: bigint) => toMoneyMessage({ currencyCode, minorUnits });
  const totalOf = (type: OrderTotalType, minorUnits: bigint): OrderTotalMessage => ({
    $typeName: "cartwright.order.v1.OrderTotal",
    type,
    amount: money(minorUnits),
  });
  return {
    totals: [
      totalOf(OrderTotalType.SUBTOTAL, subtotal),
      totalOf(OrderTotalType.DISCOUNT, discount),
      totalOf(OrderTotalType.SHIPPING, shipping),
      totalOf(OrderTotalType.TAX, isTaxIncluded ? 0n : tax),
      totalOf(OrderTotalType.TOTAL, total),
    ],
    includedTax: money(isTaxIncluded ? tax : 0n),
  };
}

/** Returns the message of a shipping option. */
export function toShippingOptionMessage(option: ShippingOption): ShippingOptionMessage {
  return {
    $typeName: "cartwright.order.v1.ShippingOption",
    id: option.id,
    name: option.name,
    price: toMoneyMessage(option.price),
    tax: toMoneyMessage(option.tax),
    minDeliveryDays: option.minDeliveryDays,
    maxDeliveryDays: option.maxDeliveryDays,
  };
}

function toItemMessage(item: OrderItem): OrderItemMessage {
  return {
    $typeName: "cartwright.order.v1.OrderItem",
    productId: item.productId,
    sku: item.sku,
    name: item.name,
    unitPrice: toMoneyMessage(item.unitPrice),
    quantity: item.quantity,
    totalPrice: toMoneyMessage(item.totalPrice),
    id: item.id,
    cancelledQuantity: item.cancelledQuantity,
    fulfilledQuantity: item.fulfilledQuantity,
    returnedQuantity: item.returnedQuantity,
    tax: toMoneyMessage(item.tax),
  };
}

function toAddressMessage(address: PostalAddress): PostalAddressMessage {
  return {
    $typeName: "cartwright.type.v1.PostalAddress",
    countryCode: address.countryCode,
    administrativeArea: address.administrativeArea,
    locality: address.locality,
    postalCode: address.postalCode,
    addressLines: [...address.addressLines],
    recipient: address.recipient,
    organization: address.organization,
    phone: address.phone,
  };
}

function toMoneyMessage({ currencyCode, minorUnits }: Money): MoneyMessage {
  return { $typeName: "cartwright.type.v1.Money", currencyCode, minorUnits };
}
