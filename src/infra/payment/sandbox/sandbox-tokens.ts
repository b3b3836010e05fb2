import { GatewayError } from "../payment-gateway.ts";

/** Behavior of payments with a token. Each part is absent in the usual behavior, which is success. */
export interface TokenBehavior {
  /** What is declined: the authorization, or what follows it. */
  readonly declines?: "AUTHORIZATION" | "CAPTURE" | "REFUND";
  /** Whether the buyer has to confirm the payment by a second step. */
  readonly needsSecondStep?: true;
  /** Whether the token is the result of a second step. */
  readonly isSecondStep?: true;
  /** Disputes that follow each capture, reported by webhooks and `fetch` only. */
  readonly disputes?: readonly ("DISPUTED" | "DISPUTE_WON" | "DISPUTE_LOST")[];
  /**
   * TIMEOUT: an authorization gets no response, and its webhook is delayed. ERROR: each request fails with an error after
   * it was executed. A repeat gets a response.
   */
  readonly fault?: "TIMEOUT" | "ERROR";
}

const BEHAVIORS: ReadonlyMap<string, TokenBehavior> = new Map<string, TokenBehavior>([
  ["sandbox_ok", {}],
  ["sandbox_declined", { declines: "AUTHORIZATION" }],
  ["sandbox_second_step", { needsSecondStep: true }],
  ["sandbox_second_step_ok", { isSecondStep: true }],
  ["sandbox_second_step_failed", { isSecondStep: true, declines: "AUTHORIZATION" }],
  ["sandbox_timeout", { fault: "TIMEOUT" }],
  ["sandbox_error_after", { fault: "ERROR" }],
  ["sandbox_dispute", { disputes: ["DISPUTED"] }],
  ["sandbox_dispute_won", { disputes: ["DISPUTED", "DISPUTE_WON"] }],
  ["sandbox_dispute_lost", { disputes: ["DISPUTED", "DISPUTE_LOST"] }],
  ["sandbox_capture_declined", { declines: "CAPTURE" }],
  ["sandbox_refund_failed", { declines: "REFUND" }],
]);

/**
 * Returns the behavior of a token; the usual one for none.
 * @throws GatewayError REJECTED for an unknown token, which is not repeated: it could be the number of a card
 */
export function behaviorOf(token: string): TokenBehavior {
  const behavior = token === "" ? {} : BEHAVIORS.get(token);
  if (behavior !== undefined) return behavior;
  throw new GatewayError(
    "REJECTED",
    `The sandbox accepts the tokens ${[...BEHAVIORS.keys()].join(", ")} only.`,
    {
      code: "unknown_payment_method",
    },
  );
}
