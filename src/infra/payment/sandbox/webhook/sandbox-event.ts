import { z } from "zod";
import { errorMessage } from "../../../../kernel/errors.ts";
import { storableText } from "../../../postgres/storable-text.ts";
import { InvalidWebhookError, type LedgerEntryType, type WebhookEvent } from "../../payment-gateway.ts";
import { decodeFact, encodedFact, encodeFact, minorUnits, reference, time } from "../fact-codec.ts";
import { failureOf, type SandboxFact, type SandboxPayment } from "../sandbox-payment.ts";

/** The header of the signature of an event. */
export const SIGNATURE_HEADER = "sandbox-signature";

/** An event to deliver. */
export interface SandboxEvent {
  id: string;
  body: string;
}

/** The type of the event of each fact. */
const EVENT_TYPES: Readonly<Record<LedgerEntryType, string>> = {
  AUTHORIZED: "payment.authorized",
  AUTHORIZATION_FAILED: "payment.failed",
  VOIDED: "payment.voided",
  CAPTURED: "payment.captured",
  CAPTURE_FAILED: "payment.capture_failed",
  REFUNDED: "refund.succeeded",
  REFUND_FAILED: "refund.failed",
  DISPUTED: "dispute.opened",
  DISPUTE_WON: "dispute.won",
  DISPUTE_LOST: "dispute.lost",
};

const encodedEvent = z.object({
  id: z.string().regex(/^se_[\w-]{1,100}$/),
  type: storableText.max(100),
  createTime: time,
  payment: z.object({
    reference,
    paymentId: z.uuid(),
    amount: minorUnits,
    currency: z.string().regex(/^[A-Z]{3}$/),
    captureBefore: time.optional(),
  }),
  fact: encodedFact,
});

/** Creates the event of a fact of a payment. */
export function createEvent(id: string, payment: SandboxPayment, fact: SandboxFact): SandboxEvent {
  const { amount, captureBefore } = payment;
  const event: z.input<typeof encodedEvent> = {
    id,
    type: EVENT_TYPES[fact.type],
    createTime: fact.time.toISOString(),
    payment: {
      reference: payment.id,
      paymentId: payment.paymentId,
      amount: amount.minorUnits.toString(),
      currency: amount.currencyCode,
      ...(captureBefore !== undefined && { captureBefore: captureBefore.toISOString() }),
    },
    fact: encodeFact(fact),
  };
  return { id, body: JSON.stringify(event) };
}

/**
 * Reads the body of an event.
 * @throws InvalidWebhookError when it is not one of the sandbox
 */
export function readEvent(body: Buffer): WebhookEvent {
  const parsed = encodedEvent.safeParse(parseJson(body));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InvalidWebhookError(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  const { id, type, createTime, payment, fact: encoded } = parsed.data;
  const fact = decodeFact(encoded, payment.currency);
  return {
    id,
    type,
    createTime,
    report: {
      paymentId: payment.paymentId,
      reference: payment.reference,
      amount: { currencyCode: payment.currency, minorUnits: payment.amount },
      captureBefore: payment.captureBefore,
      ...(fact.type === "AUTHORIZATION_FAILED" && { failure: failureOf(fact) }),
      facts: [fact],
    },
  };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new InvalidWebhookError(`The body is not JSON: ${errorMessage(error)}`);
  }
}
