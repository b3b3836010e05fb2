import { z } from "zod";
import { storableText } from "../../postgres/storable-text.ts";

/**
 * The fields of Stripe's objects that are read. They are the same in all versions of the API since 2022-11-15, so that
 * webhooks of an older endpoint can be read too. Source: https://docs.stripe.com/api
 */
const id = storableText.min(1).max(200);
const amount = z.int().min(0);
const currency = z.string().regex(/^[a-z]{3}$/);
/** Seconds, up to the end of the year 9999. */
const time = z.int().min(0).max(253_402_300_799);
const metadata = z.record(z.string(), storableText).nullish();

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
  code: storableText.nullish(),
  decline_code: storableText.nullish(),
  message: storableText.nullish(),
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
  client_secret: storableText.nullish(),
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
  failure_reason: storableText.nullish(),
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
  reason: storableText.nullish(),
});

export const eventSchema = z.object({
  object: z.literal("event"),
  id,
  type: storableText.min(1).max(100),
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
