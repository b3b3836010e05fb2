/** The state of an order's payment. */
export type PaymentState = "UNPAID" | "AUTHORIZED" | "PAID" | "PARTIALLY_REFUNDED" | "REFUNDED" | "FAILED";

/** The state of an order's shipment. */
export type FulfillmentState = "UNFULFILLED" | "PARTIALLY_FULFILLED" | "FULFILLED" | "DELIVERED";

/** Whether an order was cancelled or has expired, or is about to expire. */
export type Closing = "NONE" | "EXPIRING" | "EXPIRED" | "CANCELLED";

/** The overall state of an order. */
export type OrderState = "PENDING" | "CONFIRMED" | "CANCELLED" | "EXPIRED" | "COMPLETED";

/** The stored states of an order. */
export interface OrderStates {
  paymentState: PaymentState;
  fulfillmentState: FulfillmentState;
  closing: Closing;
}

export const PAYMENT_STATES: readonly PaymentState[] = [
  "UNPAID",
  "AUTHORIZED",
  "PAID",
  "PARTIALLY_REFUNDED",
  "REFUNDED",
  "FAILED",
];
export const FULFILLMENT_STATES: readonly FulfillmentState[] = [
  "UNFULFILLED",
  "PARTIALLY_FULFILLED",
  "FULFILLED",
  "DELIVERED",
];
export const CLOSINGS: readonly Closing[] = ["NONE", "EXPIRING", "EXPIRED", "CANCELLED"];

/** All combinations of stored states. */
export const ALL_STATES: readonly OrderStates[] = PAYMENT_STATES.flatMap((paymentState) =>
  FULFILLMENT_STATES.flatMap((fulfillmentState) =>
    CLOSINGS.map((closing): OrderStates => ({ paymentState, fulfillmentState, closing })),
  ),
);

/** Returns whether an order still has to be paid before it can be shipped. */
export function isUnpaid(state: PaymentState): boolean {
  return state === "UNPAID" || state === "FAILED";
}

/** Returns the overall state. The generated column `orders.state` computes the same; a test compares them. */
export function overallState({ paymentState, fulfillmentState, closing }: OrderStates): OrderState {
  if (closing === "CANCELLED" || closing === "EXPIRED") return closing;
  if (isUnpaid(paymentState)) return fulfillmentState === "UNFULFILLED" ? "PENDING" : "CONFIRMED";
  return fulfillmentState === "DELIVERED" && paymentState !== "AUTHORIZED" ? "COMPLETED" : "CONFIRMED";
}

/** Returns whether no change of the order is left to wait for. Units of a completed order can still be returned. */
export function isFinal(state: OrderState): boolean {
  return state === "CANCELLED" || state === "EXPIRED" || state === "COMPLETED";
}
