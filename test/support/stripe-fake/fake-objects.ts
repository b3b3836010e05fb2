/** A PaymentIntent as the fake stores and sends it. Source of the fields: https://docs.stripe.com/api/payment_intents/object */
export interface FakeIntent {
  id: string;
  object: "payment_intent";
  amount: number;
  amount_capturable: number;
  amount_received: number;
  capture_method: string;
  client_secret: string;
  created: number;
  currency: string;
  last_payment_error: FakePaymentError | null;
  latest_charge: string | null;
  livemode: false;
  metadata: Record<string, string>;
  next_action: { type: "use_stripe_sdk" } | null;
  payment_method: string | null;
  payment_method_options: { card?: { request_multicapture?: string } };
  status: string;
}

export interface FakePaymentError {
  type: "card_error";
  code: string;
  decline_code?: string;
  message: string;
  charge?: string;
  payment_method: { id: string; object: "payment_method" };
}

export interface FakeCharge {
  id: string;
  object: "charge";
  amount: number;
  created: number;
  status: "succeeded" | "failed";
  payment_intent: string;
  payment_method_details: {
    type: "card";
    card: { capture_before?: number; multicapture: { status: "available" | "unavailable" } };
  };
}

export interface FakeRefund {
  id: string;
  object: "refund";
  amount: number;
  charge: string | null;
  created: number;
  currency: string;
  failure_reason?: string;
  metadata: Record<string, string>;
  payment_intent: string;
  status: "pending" | "succeeded" | "failed";
}

export interface FakeDispute {
  id: string;
  object: "dispute";
  amount: number;
  charge: string | null;
  created: number;
  currency: string;
  payment_intent: string;
  reason: string;
  status: string;
}

export interface FakeEvent {
  id: string;
  object: "event";
  api_version: string;
  created: number;
  data: { object: object };
  livemode: false;
  type: string;
}

/** An error that the fake sends. */
export class FakeStripeError extends Error {
  readonly status: number;
  readonly body: { type: string; code?: string; message: string; payment_intent?: object };

  constructor(
    status: number,
    body: { type: string; code?: string; message: string; payment_intent?: object },
  ) {
    super(body.message);
    this.status = status;
    this.body = body;
  }
}

/** Returns an error of invalid parameters or of a state that does not allow the request. */
export function invalidRequest(code: string, message: string, status = 400): FakeStripeError {
  return new FakeStripeError(status, { type: "invalid_request_error", code, message });
}
