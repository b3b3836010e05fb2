import { z } from "zod";

/**
 * The fields of Stripe's objects that are read. They are the same in all versions of the API since 2022-11-15, so that
 * webhooks of an older endpoint can be read too. Source: https://docs.stripe.com/api
 */
const id = z.string().min(1).max(200);
const amount = z.int().min(0);
const currency = z.string().regex(/^[a-z]{3}$/);
const time = z.int().min(0);
const metadata = z.record(z.string(), z.string()).nullish();

const charge = z.object({
  id,
  status: z.string(),
  created: time,
  payment_method_details: z
    .object({
      card: z
        .object({
          capture_before: time.nullish(),
          multicapture: z.object({ status: z.string() }).nullish(),
        })
        .nullish(),
    })
    .nullish(),
});

const paymentError = z.object({
  code: z.string().nullish(),
  decline_code: z.string().nullish(),
  message: z.string().nullish(),
  charge: id.nullish(),
  payment_method: z.object({ id }).nullish(),
});

export const paymentIntentSchema = z.object({
  object: z.literal("payment_intent"),
  id,
  amount,
  amount_received: amount,
  currency,
  status: z.string(),
  capture_method: z.string(),
  client_secret: z.string().nullish(),
  metadata,
  /** Its id, or the charge if the request has expanded it. */
  latest_charge: z.union([id, charge]).nullish(),
  last_payment_error: paymentError.nullish(),
  payment_method_options: z
    .object({ card: z.object({ request_multicapture: z.string().nullish() }).nullish() })
    .nullish(),
});

export const refundSchema = z.object({
  object: z.literal("refund"),
  id,
  amount,
  currency,
  created: time,
  status: z.string().nullish(),
  payment_intent: id.nullish(),
  failure_reason: z.string().nullish(),
  metadata,
});

export const disputeSchema = z.object({
  object: z.literal("dispute"),
  id,
  amount,
  currency,
  created: time,
  status: z.string(),
  payment_intent: id.nullish(),
  reason: z.string().nullish(),
});

export const eventSchema = z.object({
  object: z.literal("event"),
  id,
  type: z.string().min(1).max(100),
  created: time,
  data: z.object({ object: z.unknown() }),
});

export type StripeIntent = z.output<typeof paymentIntentSchema>;
export type StripeCharge = z.output<typeof charge>;
export type StripeRefund = z.output<typeof refundSchema>;
export type StripeDispute = z.output<typeof disputeSchema>;

/** Names of our metadata at Stripe. */
export const METADATA = {
  payment: "cartwright_payment",
  order: "cartwright_order",
  /** Our latest capture, and its amount in Stripe's units. */
  capture: "cartwright_capture",
  captureAmount: "cartwright_capture_amount",
  refund: "cartwright_refund",
} as const;
