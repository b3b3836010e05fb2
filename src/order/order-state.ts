import { AppError } from "../kernel/errors.ts";

/** Where an order stands. */
export type OrderState = "PENDING" | "CANCELLED";

/** What can be done to an order; each is a method. */
export type OrderTransition = "CANCEL";

/** Each state, the transitions out of it, and where they lead: the only place that knows. */
const TRANSITIONS: Record<OrderState, Partial<Record<OrderTransition, OrderState>>> = {
  PENDING: { CANCEL: "CANCELLED" },
  CANCELLED: {},
};

/** What can be done to an order in this state. */
export function allowedTransitions(state: OrderState): OrderTransition[] {
  return Object.keys(TRANSITIONS[state]) as OrderTransition[];
}

/** The state after a transition. FAILED_PRECONDITION, with what is allowed, when this one is not. */
export function nextState(orderId: string, state: OrderState, transition: OrderTransition): OrderState {
  const next = TRANSITIONS[state][transition];
  if (next !== undefined) return next;
  const allowed = allowedTransitions(state).join(", ") || "nothing any more";
  const description = `it is ${state}, which allows ${allowed}`;
  throw new AppError("failed_precondition", `Order ${orderId} cannot ${transition}: ${description}.`, {
    reason: "ORDER_STATE",
    metadata: { current_state: state },
    preconditions: [{ type: "STATE", subject: `orders/${orderId}`, description }],
  });
}
