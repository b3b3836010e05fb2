import { AppError } from "../kernel/errors.ts";

/** The state of an order. */
export type OrderState = "PENDING" | "CANCELLED";

/** A change of an order's state; each is a method of the service. */
export type OrderTransition = "CANCEL";

/** The state machine: for each state, the transitions and the states that they lead to. */
const TRANSITIONS: Record<OrderState, ReadonlyMap<OrderTransition, OrderState>> = {
  PENDING: new Map([["CANCEL", "CANCELLED"]]),
  CANCELLED: new Map(),
};

/** Returns the transitions that a state allows. */
export function allowedTransitions(state: OrderState): OrderTransition[] {
  return [...TRANSITIONS[state].keys()];
}

/**
 * Returns the state after a transition.
 * @throws AppError failed_precondition, with the transitions that are allowed, when this one is not
 */
export function nextState(orderId: string, state: OrderState, transition: OrderTransition): OrderState {
  const next = TRANSITIONS[state].get(transition);
  if (next !== undefined) return next;
  const allowed = allowedTransitions(state).join(", ") || "no transition";
  const description = `it is ${state}, which allows ${allowed}`;
  throw new AppError(
    "failed_precondition",
    `Order ${orderId} does not allow ${transition}: ${description}.`,
    {
      reason: "ORDER_STATE",
      metadata: { current_state: state },
      preconditions: [{ type: "STATE", subject: `orders/${orderId}`, description }],
    },
  );
}
