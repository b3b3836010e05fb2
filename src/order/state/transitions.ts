import { AppError } from "../../kernel/errors.ts";
import {
  CLOSINGS,
  type Closing,
  FULFILLMENT_STATES,
  type FulfillmentState,
  isUnpaid,
  type OrderStates,
  overallState,
  type PaymentState,
} from "./order-state.ts";

/** A change of an order that callers can make; each is a method of the service. */
export type OrderTransition =
  | "CANCEL"
  | "MARK_PAID"
  | "SHIP"
  | "DELIVER"
  | "CANCEL_ITEMS"
  | "RETURN_ITEMS"
  | "SET_EXPIRE_TIME"
  | "PAY"
  | "REFUND";

/** A change of an order that the service makes by itself. */
export type ServiceTransition = "START_EXPIRY" | "EXPIRE" | "ABORT_EXPIRY" | "RECORD_ENTRIES";

/** A change of a part of an order. It moves no state, and each order that has the part allows it. */
export type OrderCorrection = "UPDATE_FULFILLMENT";

/** Any change of an order. */
export type AnyTransition = OrderTransition | ServiceTransition | OrderCorrection;

/** The kind of an event in the history of an order. */
export type OrderEventType =
  | "PLACED"
  | "CANCELLED"
  | "PAID"
  | "SHIPPED"
  | "DELIVERED"
  | "ITEMS_CANCELLED"
  | "ITEMS_RETURNED"
  | "EXPIRE_TIME_SET"
  | "EXPIRY_STARTED"
  | "EXPIRED"
  | "EXPIRY_ABORTED"
  | "FULFILLMENT_CHANGED"
  | "PAYMENT_AUTHORIZED"
  | "PAYMENT_FAILED"
  | "PAYMENT_RELEASED"
  | "REFUND_REQUESTED"
  | "REFUNDED"
  | "REFUND_FAILED"
  | "DISPUTED"
  | "DISPUTE_CLOSED";

/** A row of the state table: which states allow a transition, and which ones it can lead to. */
export interface TransitionRule {
  /** The events that the transition can record. */
  events: readonly [OrderEventType, ...OrderEventType[]];
  payment: readonly PaymentState[];
  fulfillment: readonly FulfillmentState[];
  closing: readonly Closing[];
  /** The states after it; a state that is absent stays as it is. With several, the quantities of the items decide. */
  to: {
    payment?: readonly PaymentState[];
    fulfillment?: readonly FulfillmentState[];
    closing?: readonly Closing[];
  };
  /** Whether an unpaid order that stays open becomes PAID when nothing is due any more. */
  settles?: true;
}

const UNPAID: readonly PaymentState[] = ["UNPAID", "FAILED"];
const SHIPPABLE: readonly PaymentState[] = ["AUTHORIZED", "PAID", "PARTIALLY_REFUNDED"];
/** States with money that can be refunded. Of an authorization, a part may be captured. */
const CAPTURED = SHIPPABLE;
const ANY_PAYMENT: readonly PaymentState[] = [...UNPAID, ...SHIPPABLE, "REFUNDED"];
const OPEN: readonly Closing[] = ["NONE"];

/** The state table. It decides each change of an order; docs/orders.md shows it as a diagram. */
export const TRANSITIONS: Readonly<Record<AnyTransition, TransitionRule>> = {
  CANCEL: {
    events: ["CANCELLED"],
    payment: ANY_PAYMENT,
    fulfillment: ["UNFULFILLED"],
    closing: OPEN,
    to: { closing: ["CANCELLED"] },
  },
  // In place of an authorization, which is cancelled: the order is PAID when it has ended.
  MARK_PAID: {
    events: ["PAID"],
    payment: [...UNPAID, "AUTHORIZED"],
    fulfillment: FULFILLMENT_STATES,
    closing: OPEN,
    to: { payment: ["AUTHORIZED", "PAID"] },
  },
  SHIP: {
    events: ["SHIPPED"],
    payment: SHIPPABLE,
    fulfillment: ["UNFULFILLED", "PARTIALLY_FULFILLED"],
    closing: OPEN,
    to: { fulfillment: ["PARTIALLY_FULFILLED", "FULFILLED"] },
  },
  DELIVER: {
    events: ["DELIVERED"],
    payment: ANY_PAYMENT,
    fulfillment: ["PARTIALLY_FULFILLED", "FULFILLED"],
    closing: OPEN,
    to: { fulfillment: ["PARTIALLY_FULFILLED", "FULFILLED", "DELIVERED"] },
  },
  CANCEL_ITEMS: {
    events: ["ITEMS_CANCELLED"],
    payment: ANY_PAYMENT,
    fulfillment: ["UNFULFILLED", "PARTIALLY_FULFILLED"],
    closing: OPEN,
    to: { fulfillment: FULFILLMENT_STATES, closing: ["NONE", "CANCELLED"] },
    settles: true,
  },
  RETURN_ITEMS: {
    events: ["ITEMS_RETURNED"],
    payment: ANY_PAYMENT,
    fulfillment: ["PARTIALLY_FULFILLED", "FULFILLED", "DELIVERED"],
    closing: OPEN,
    to: {},
  },
  SET_EXPIRE_TIME: {
    events: ["EXPIRE_TIME_SET"],
    payment: UNPAID,
    fulfillment: ["UNFULFILLED"],
    closing: OPEN,
    to: {},
  },
  // Allows CreatePayment. The order changes with the entries of its payment, by RECORD_ENTRIES.
  PAY: {
    events: ["PAYMENT_AUTHORIZED"],
    payment: UNPAID,
    fulfillment: FULFILLMENT_STATES,
    closing: OPEN,
    to: {},
  },
  // Allows RefundOrder. A refund by a gateway changes the order by RECORD_ENTRIES; one by hand is made already.
  REFUND: {
    events: ["REFUNDED"],
    payment: CAPTURED,
    fulfillment: FULFILLMENT_STATES,
    closing: ["NONE", "CANCELLED", "EXPIRED"],
    to: { payment: ["PARTIALLY_REFUNDED", "REFUNDED"] },
  },
  START_EXPIRY: {
    events: ["EXPIRY_STARTED"],
    payment: UNPAID,
    fulfillment: ["UNFULFILLED"],
    closing: OPEN,
    to: { closing: ["EXPIRING"] },
  },
  EXPIRE: {
    events: ["EXPIRED"],
    payment: UNPAID,
    fulfillment: ["UNFULFILLED"],
    closing: ["EXPIRING"],
    to: { closing: ["EXPIRED"] },
  },
  ABORT_EXPIRY: {
    events: ["EXPIRY_ABORTED"],
    payment: ANY_PAYMENT,
    fulfillment: ["UNFULFILLED"],
    closing: ["EXPIRING"],
    to: { closing: ["NONE"] },
  },
  // Gateways state facts in any order and at any time: they decide the payment state, whatever the order is like.
  RECORD_ENTRIES: {
    events: [
      "PAID",
      "PAYMENT_AUTHORIZED",
      "PAYMENT_FAILED",
      "PAYMENT_RELEASED",
      "REFUND_REQUESTED",
      "REFUNDED",
      "REFUND_FAILED",
      "DISPUTED",
      "DISPUTE_CLOSED",
    ],
    payment: ANY_PAYMENT,
    fulfillment: FULFILLMENT_STATES,
    closing: CLOSINGS,
    to: { payment: ANY_PAYMENT },
  },
  UPDATE_FULFILLMENT: {
    events: ["FULFILLMENT_CHANGED"],
    payment: ANY_PAYMENT,
    fulfillment: ["PARTIALLY_FULFILLED", "FULFILLED", "DELIVERED"],
    closing: OPEN,
    to: {},
  },
};

/** The transitions of callers, in the order in which they are listed. */
export const CALLER_TRANSITIONS: readonly OrderTransition[] = [
  "CANCEL",
  "MARK_PAID",
  "SHIP",
  "DELIVER",
  "CANCEL_ITEMS",
  "RETURN_ITEMS",
  "SET_EXPIRE_TIME",
  "PAY",
  "REFUND",
];

/** The states of an order, with the units and the money that some transitions need. */
export interface TransitionSubject extends OrderStates {
  /** What was captured. */
  paid: { minorUnits: bigint };
  refunded: { minorUnits: bigint };
  items: readonly {
    quantity: bigint;
    cancelledQuantity: bigint;
    fulfilledQuantity: bigint;
    returnedQuantity: bigint;
  }[];
}

/** Returns whether the states of an order, the quantities of its items and its money allow a transition. */
export function isAllowed(order: TransitionSubject, transition: AnyTransition): boolean {
  const { payment, fulfillment, closing } = TRANSITIONS[transition];
  if (!payment.includes(order.paymentState) || !fulfillment.includes(order.fulfillmentState)) return false;
  if (!closing.includes(order.closing)) return false;
  if (transition === "REFUND") return order.paid.minorUnits > order.refunded.minorUnits;
  return (
    transition !== "RETURN_ITEMS" ||
    order.items.some((item) => item.fulfilledQuantity > item.returnedQuantity)
  );
}

/** Returns the transitions that callers can make now. */
export function allowedTransitions(order: TransitionSubject): OrderTransition[] {
  return CALLER_TRANSITIONS.filter((transition) => isAllowed(order, transition));
}

/** @throws AppError failed_precondition, with the transitions that are allowed, when this one is not */
export function assertTransition(
  order: TransitionSubject & { id: string },
  transition: OrderTransition,
): void {
  if (isAllowed(order, transition)) return;
  const state = overallState(order);
  const allowed = allowedTransitions(order).join(", ") || "no transition";
  const description =
    order.closing === "EXPIRING"
      ? "its time to pay has passed and it is about to expire, which allows no transition"
      : `it is ${state} (${order.paymentState}, ${order.fulfillmentState}), which allows ${allowed}`;
  throw new AppError(
    "failed_precondition",
    `Order ${order.id} does not allow ${transition}: ${description}.`,
    {
      reason: "ORDER_STATE",
      metadata: {
        current_state: state,
        payment_state: order.paymentState,
        fulfillment_state: order.fulfillmentState,
        allowed_transitions: allowedTransitions(order).join(","),
      },
      preconditions: [{ type: "STATE", subject: `orders/${order.id}`, description }],
    },
  );
}

/** Returns whether a transition can lead from some states to others. */
export function canLead(transition: AnyTransition, from: OrderStates, to: OrderStates): boolean {
  const rule = TRANSITIONS[transition];
  const isReachable = <T>(before: T, after: T, targets: readonly T[] | undefined): boolean =>
    targets === undefined ? before === after : targets.includes(after);
  return (
    rule.payment.includes(from.paymentState) &&
    rule.fulfillment.includes(from.fulfillmentState) &&
    rule.closing.includes(from.closing) &&
    (isReachable(from.paymentState, to.paymentState, rule.to.payment) || isSettled(rule, from, to)) &&
    isReachable(from.fulfillmentState, to.fulfillmentState, rule.to.fulfillment) &&
    isReachable(from.closing, to.closing, rule.to.closing)
  );
}

function isSettled({ settles }: TransitionRule, from: OrderStates, to: OrderStates): boolean {
  return (
    settles === true && isUnpaid(from.paymentState) && to.paymentState === "PAID" && to.closing === "NONE"
  );
}

/** The events of new entries of the ledger. */
export const ledgerEvents: readonly OrderEventType[] = TRANSITIONS.RECORD_ENTRIES.events;
