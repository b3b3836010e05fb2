import {
  CLOSINGS,
  FULFILLMENT_STATES,
  type OrderStates,
  overallState,
  PAYMENT_STATES,
} from "../../../src/order/state/order-state.ts";
import { type AnyTransition, canLead, TRANSITIONS } from "../../../src/order/state/transitions.ts";

/** The states in which an order is placed; one whose total is 0 is paid from the start. */
const INITIAL: readonly OrderStates[] = [
  { paymentState: "UNPAID", fulfillmentState: "UNFULFILLED", closing: "NONE" },
  { paymentState: "PAID", fulfillmentState: "UNFULFILLED", closing: "NONE" },
];
const ALL_STATES: readonly OrderStates[] = PAYMENT_STATES.flatMap((paymentState) =>
  FULFILLMENT_STATES.flatMap((fulfillmentState) =>
    CLOSINGS.map((closing) => ({ paymentState, fulfillmentState, closing })),
  ),
);
const transitions = Object.keys(TRANSITIONS).filter((name): name is AnyTransition => name in TRANSITIONS);

/** Returns the name of the states in the diagram. An order that is about to expire is still PENDING. */
const nodeOf = (states: OrderStates): string =>
  states.closing === "EXPIRING" ? "PENDING_EXPIRING" : overallState(states);

/** Returns the states that a transition can lead to. Only a shipment makes an unfulfilled order another one. */
const statesAfter = (from: OrderStates, transition: AnyTransition): OrderStates[] =>
  ALL_STATES.filter(
    (to) =>
      canLead(transition, from, to) &&
      (transition === "SHIP" ||
        from.fulfillmentState !== "UNFULFILLED" ||
        to.fulfillmentState === "UNFULFILLED"),
  );

/** Returns the lines of the diagram, from state to state, with all transitions between two of them in one. */
function edges(): string[] {
  const labels = new Map<string, Set<string>>();
  const reached = [...INITIAL];
  for (const from of reached) {
    for (const transition of transitions) {
      for (const to of statesAfter(from, transition)) {
        const edge = `${nodeOf(from)} --> ${nodeOf(to)}`;
        labels.set(edge, (labels.get(edge) ?? new Set()).add(transition));
        if (!reached.some((one) => isEqual(one, to))) reached.push(to);
      }
    }
  }
  return [...labels].map(([edge, names]) => `${edge}: ${[...names].join(", ")}`);
}

const isEqual = (a: OrderStates, b: OrderStates): boolean =>
  a.paymentState === b.paymentState && a.fulfillmentState === b.fulfillmentState && a.closing === b.closing;

/** Returns the overall states of orders and the transitions between them as a diagram in Mermaid. */
export function stateDiagram(): string {
  const lines = [
    "stateDiagram-v2",
    'state "PENDING, about to expire" as PENDING_EXPIRING',
    ...INITIAL.map((states) => `[*] --> ${nodeOf(states)}: ${states.paymentState}`),
    ...edges(),
  ];
  return ["```mermaid", lines[0], ...lines.slice(1).map((line) => `    ${line}`), "```"].join("\n");
}

const listed = (states: readonly string[], all: readonly string[]): string =>
  all.every((state) => states.includes(state)) ? "any" : states.join(", ");

/** Returns the table of the transitions, in Markdown. */
export function transitionsTable(): string {
  const rows = transitions.map((name) => {
    const { events, payment, fulfillment, closing, to, settles } = TRANSITIONS[name];
    const after = [to.payment, to.fulfillment, to.closing]
      .filter((states) => states !== undefined)
      .map((states) =>
        states.length > 2 ? `${states.slice(0, -1).join(", ")} or ${states.at(-1)}` : states.join(" or "),
      );
    if (settles) after.unshift("PAID if it was not and nothing is due any more");
    const cells = [
      `\`${name}\``,
      listed(payment, PAYMENT_STATES),
      listed(fulfillment, FULFILLMENT_STATES),
      listed(closing, CLOSINGS),
      after.join("; ") || "unchanged",
      events.join(", "),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| transition | allowed payment states | allowed fulfillment states | closing | becomes | event |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}
