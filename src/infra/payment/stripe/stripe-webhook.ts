import { z } from "zod";
import { type GatewayReport, InvalidWebhookError, type WebhookEvent } from "../payment-gateway.ts";
import { reportMoney } from "./intent-report.ts";
import { reportDispute, reportRefund } from "./return-facts.ts";
import { disputeSchema, eventSchema, paymentIntentSchema, refundSchema } from "./stripe-objects.ts";

/**
 * Types of events whose objects state money. Each states what is true of its object, so that all types of an object are
 * read in the same way and their order does not matter. Other types are stored and ignored.
 */
const INTENT_EVENTS: ReadonlySet<string> = new Set([
  "payment_intent.amount_capturable_updated",
  "payment_intent.succeeded",
  "payment_intent.payment_failed",
  "payment_intent.canceled",
  "payment_intent.requires_action",
]);
const REFUND_EVENTS: ReadonlySet<string> = new Set(["refund.created", "refund.updated", "refund.failed"]);
const DISPUTE_EVENTS: ReadonlySet<string> = new Set([
  "charge.dispute.created",
  "charge.dispute.updated",
  "charge.dispute.closed",
  "charge.dispute.funds_withdrawn",
  "charge.dispute.funds_reinstated",
]);

/**
 * Reads an event.
 * @throws InvalidWebhookError when it is no event, or has no readable object
 */
export function readStripeEvent(body: Buffer): WebhookEvent {
  try {
    const event = eventSchema.parse(JSON.parse(body.toString("utf8")));
    const createTime = new Date(event.created * 1_000);
    const report = reportEvent(event.type, event.data.object);
    return { id: event.id, type: event.type, createTime, report: report && withTimes(report, createTime) };
  } catch (error) {
    const text = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new InvalidWebhookError(`The event cannot be read: ${text.slice(0, 500)}`);
  }
}

function reportEvent(type: string, object: unknown): GatewayReport | undefined {
  if (INTENT_EVENTS.has(type)) return reportMoney(paymentIntentSchema.parse(object));
  if (REFUND_EVENTS.has(type)) return reportRefund(refundSchema.parse(object));
  if (DISPUTE_EVENTS.has(type)) return reportDispute(disputeSchema.parse(object));
  return undefined;
}

/** Adds the time of the event to facts that have none. */
function withTimes(report: GatewayReport, time: Date): GatewayReport {
  return { ...report, facts: report.facts.map((fact) => ({ time, ...fact })) };
}
