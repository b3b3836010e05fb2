/** The mistakes that implementations of payments make. */
export const PAYMENT_FLAWS = [
  "captures have no idempotency key",
  "refunds are computed by floating-point numbers",
  "the last event sets the state of the order",
  "money of closed orders is refunded for each event",
  "a repeated event is counted again",
  "a payment without a response is created as a new one",
] as const;

/** A mistake that implementations of payments make. */
export type PaymentFlaw = (typeof PAYMENT_FLAWS)[number];
