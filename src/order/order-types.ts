import type { Money } from "../kernel/money.ts";
import type { PostalAddress } from "./address/postal-address.ts";
import type { OrderState, OrderStates } from "./state/order-state.ts";
import type { OrderTransition } from "./state/transitions.ts";

/** One product of an order, as it was when the order was placed, and what became of its units. */
export interface OrderItem {
  /** Position in the order from 1, as text. */
  id: string;
  productId: string;
  sku: string;
  name: string;
  unitPrice: Money;
  quantity: bigint;
  /** Unit price times quantity. */
  totalPrice: Money;
  /** Part of the total price, or on top of it, as `OrderTotals.isTaxIncluded` says. */
  tax: Money;
  cancelledQuantity: bigint;
  fulfilledQuantity: bigint;
  returnedQuantity: bigint;
}

/** How an order is shipped, as it was chosen. */
export interface ShippingOption {
  id: string;
  name: string;
  price: Money;
  /** Part of the price, or on top of it, as `OrderTotals.isTaxIncluded` says. */
  tax: Money;
  /** 0 if unknown. */
  minDeliveryDays: number;
  /** 0 if unknown. */
  maxDeliveryDays: number;
}

/** The amounts of an order in minor units of its currency. */
export interface OrderTotals {
  /** Sum of the prices of the items. */
  subtotal: bigint;
  /** 0 or negative. */
  discount: bigint;
  shipping: bigint;
  /** Tax of the items and of the shipping. */
  tax: bigint;
  /** Whether the prices include the tax. */
  isTaxIncluded: boolean;
  /** Sum of subtotal, discount, shipping and the tax that is not included. */
  total: bigint;
}

/** A purchase of one or more products. */
export interface Order extends OrderStates {
  id: string;
  /** Empty for a guest. */
  customerId: string;
  state: OrderState;
  items: OrderItem[];
  totals: OrderTotals;
  totalPrice: Money;
  /** What was captured, or paid by hand. */
  paid: Money;
  /** What of it went back to the buyer, by refunds and by disputes that were lost. */
  refunded: Money;
  /** What remains to be paid. */
  amountDue: Money;
  /** Empty for none. */
  promotionId: string;
  /** Whether the items were recorded as purchases of the promotion. */
  salesRecorded: boolean;
  shippingAddress: PostalAddress | undefined;
  billingAddress: PostalAddress | undefined;
  email: string;
  note: string;
  shippingOption: ShippingOption | undefined;
  /** The transitions that the current state allows. */
  allowedTransitions: OrderTransition[];
  /** The version, which is the sequence of the order's last event. */
  etag: string;
  createTime: Date;
  updateTime: Date;
  /** Undefined for an order that does not expire, or no longer. */
  expireTime: Date | undefined;
}

/** The parts of an order that others follow from. */
export type OrderFields = Omit<Order, "state" | "totalPrice" | "amountDue" | "allowedTransitions">;
