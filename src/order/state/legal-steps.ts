import { ALL_STATES, type OrderStates } from "./order-state.ts";
import { type AnyTransition, canLead, type OrderEventType, TRANSITIONS } from "./transitions.ts";

/** A change of the stored states that an event of a type can record. */
export interface LegalStep {
  event: OrderEventType;
  from: OrderStates;
  to: OrderStates;
}

/**
 * Returns all changes of states that the table allows, except those of entries of the ledger, which can lead from any
 * payment state to any other. The checks of the histories of orders compare with them.
 */
export function legalSteps(): LegalStep[] {
  const transitions = Object.keys(TRANSITIONS)
    .filter(isTransition)
    .filter((name) => name !== "RECORD_ENTRIES" && name !== "PAY");
  return transitions.flatMap((transition) =>
    ALL_STATES.flatMap((from) =>
      ALL_STATES.filter((to) => canLead(transition, from, to)).flatMap((to) =>
        TRANSITIONS[transition].events.map((event) => ({ event, from, to })),
      ),
    ),
  );
}

const isTransition = (name: string): name is AnyTransition => name in TRANSITIONS;
