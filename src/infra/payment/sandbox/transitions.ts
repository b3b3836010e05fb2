import { randomBytes } from "node:crypto";
import { HOUR_MS } from "../../../kernel/durations.ts";
import { type Ids, UUID_PATTERN } from "../../../kernel/ids.ts";
import type { Money } from "../../../kernel/money.ts";
import { GatewayError, type IntentRequest, type LedgerEntryType } from "../payment-gateway.ts";
import { moneyOf, type SandboxFact, type SandboxPayment } from "./sandbox-payment.ts";
import { behaviorOf } from "./sandbox-tokens.ts";

/** A change of a payment. */
export type PaymentChange =
  | ({ kind: "CONFIRM"; methodToken: string } & ChangeTarget)
  | ({ kind: "CAPTURE"; amount: Money; isFinal: boolean } & ChangeTarget)
  | ({ kind: "CANCEL" } & ChangeTarget)
  | ({ kind: "REFUND"; amount: Money } & ChangeTarget);

/** The payment to change. */
interface ChangeTarget {
  paymentId: string;
  /** Id of the payment at the sandbox. */
  reference: string;
  /** Idempotency key among the changes of its kind. */
  requestId: string;
}

/** Sources of the values that a transition assigns. */
export interface TransitionOptions {
  now: Date;
  ids: Ids;
}

/** The result of a transition. */
export interface Transition {
  payment: SandboxPayment;
  /** The new facts. */
  facts: readonly SandboxFact[];
  /** Whether the request was executed, and not an earlier one with the same key. */
  isExecuted: boolean;
  /** Facts at the end of `facts` that the response does not contain, because they happen after it. */
  factsAfter: number;
}

/** Validity of an authorization. */
const AUTHORIZATION_MS = 7 * 24 * HOUR_MS;
/** Maximum number of changes of a payment. Each adds a few facts to its row. */
export const MAX_CHANGES = 250;
const SECRET_BYTES = 16;

/**
 * Creates a payment.
 * @throws GatewayError REJECTED for an unknown token
 */
export function createPayment(
  { paymentId, orderId, amount, capture, methodToken }: IntentRequest,
  options: TransitionOptions,
): Transition {
  const id = `sp_${options.ids()}`;
  const payment: SandboxPayment = {
    id,
    paymentId,
    orderId,
    amount,
    capture,
    token: "",
    step: "ACTION_REQUIRED",
    clientSecret: `${id}_secret_${randomBytes(SECRET_BYTES).toString("hex")}`,
    facts: [],
    requests: [],
    captureBefore: undefined,
  };
  return methodToken === "" ? unchanged(payment, true) : confirm(payment, methodToken, options);
}

/**
 * Returns the result of a repeated creation.
 * @throws GatewayError REJECTED when the payment was created with other values
 */
export function repeatCreation(payment: SandboxPayment, request: IntentRequest): Transition {
  const isSame =
    payment.orderId === request.orderId &&
    payment.capture === request.capture &&
    isEqual(payment.amount, request.amount);
  if (!isSame) throw rejected("idempotency_mismatch", "The payment was created with other values.");
  return unchanged(payment, false);
}

/**
 * Changes a payment; a change with a known id changes nothing.
 * @param payment undefined: there is none
 * @throws GatewayError REJECTED when the payment does not exist, or its state does not allow the change
 */
export function changePayment(
  payment: SandboxPayment | undefined,
  change: PaymentChange,
  options: TransitionOptions,
): Transition {
  if (payment === undefined || payment.id !== change.reference) {
    throw rejected("payment_not_found", "The sandbox has no such payment.");
  }
  const key = `${change.kind} ${change.requestId}`;
  if (payment.requests.includes(key)) return unchanged(payment, false);
  if (payment.requests.length >= MAX_CHANGES) {
    throw rejected("too_many_changes", `The sandbox changes a payment at most ${MAX_CHANGES} times.`);
  }
  const changed = applyChange(payment, change, options);
  return {
    ...changed,
    payment: { ...changed.payment, requests: [...payment.requests, key] },
  };
}

function applyChange(payment: SandboxPayment, change: PaymentChange, options: TransitionOptions): Transition {
  switch (change.kind) {
    case "CONFIRM":
      return confirm(payment, change.methodToken, options);
    case "CAPTURE":
      return capture(payment, change, options);
    case "CANCEL":
      return cancel(payment, change.requestId, options);
    case "REFUND":
      return refund(payment, change, options);
  }
}

function confirm(payment: SandboxPayment, token: string, options: TransitionOptions): Transition {
  const { isSecondStep } = behaviorOf(token);
  const isConfirmable = payment.step === "ACTION_REQUIRED" || payment.step === "FAILED";
  if (!isConfirmable || token === "") return unchanged(payment, true);
  if (isSecondStep && !(payment.step === "ACTION_REQUIRED" && behaviorOf(payment.token).needsSecondStep)) {
    throw rejected("no_second_step", "The payment does not wait for a second step.");
  }
  return authorize(payment, token, options);
}

/** Authorizes a payment, or captures it with its order. */
function authorize(payment: SandboxPayment, token: string, options: TransitionOptions): Transition {
  const { declines, needsSecondStep, isSecondStep } = behaviorOf(token);
  const { id, amount, capture: method } = payment;
  const { now, ids } = options;
  if (needsSecondStep) return unchanged({ ...payment, token, step: "ACTION_REQUIRED" }, true);
  const charge = `sc_${ids()}`;
  if (declines === "AUTHORIZATION" || (declines === "CAPTURE" && method === "AT_ORDER")) {
    const note = isSecondStep ? "The second step failed." : "The payment method was declined.";
    const failed = factOf("AUTHORIZATION_FAILED", charge, amount, { now, note });
    return add({ ...payment, token, step: "FAILED" }, [failed]);
  }
  if (method === "AT_SHIPMENT") {
    const captureBefore = new Date(now.getTime() + AUTHORIZATION_MS);
    return add({ ...payment, token, step: "PENDING", captureBefore }, [
      factOf("AUTHORIZED", id, amount, { now }),
    ]);
  }
  const after = disputeFacts(token, amount, options);
  const facts = [factOf("CAPTURED", charge, amount, { now }), ...after];
  return add({ ...payment, token, step: "PENDING" }, facts, after.length);
}

function capture(
  payment: SandboxPayment,
  { amount, isFinal, requestId }: { amount: Money; isFinal: boolean; requestId: string },
  { now, ids }: TransitionOptions,
): Transition {
  const { open } = moneyOf(payment);
  if (open === 0n) throw rejected("payment_not_authorized", "The payment has nothing to capture.");
  assertWithin(payment, amount, open, "captured");
  const { declines } = behaviorOf(payment.token);
  const hasEnded = payment.captureBefore !== undefined && now >= payment.captureBefore;
  if (hasEnded || declines === "CAPTURE") {
    const note = hasEnded ? "The authorization has ended." : "The capture was declined.";
    const failed = factOf("CAPTURE_FAILED", requestId, amount, { now, requestId, note });
    return hasEnded
      ? add({ ...payment, step: "CANCELLED" }, [failed, voidedFact(payment, open, now)])
      : add(payment, [failed]);
  }
  const rest = open - amount.minorUnits;
  const after = disputeFacts(payment.token, amount, { now, ids });
  const facts = [
    factOf("CAPTURED", requestId, amount, { now, requestId }),
    ...(isFinal && rest > 0n ? [voidedFact(payment, rest, now)] : []),
    ...after,
  ];
  return add(payment, facts, after.length);
}

function cancel(payment: SandboxPayment, requestId: string, { now }: TransitionOptions): Transition {
  const { open, captured } = moneyOf(payment);
  const isEnded = payment.step === "CANCELLED" || (open === 0n && captured > 0n);
  if (isEnded) return unchanged(payment, true);
  const step = captured > 0n ? payment.step : "CANCELLED";
  const voided = voidedFact(payment, open, now);
  // Facts name requests by their ids. The key of a cancellation may be another text.
  return add({ ...payment, step }, [UUID_PATTERN.test(requestId) ? { ...voided, requestId } : voided]);
}

function refund(
  payment: SandboxPayment,
  { amount, requestId }: { amount: Money; requestId: string },
  { now, ids }: TransitionOptions,
): Transition {
  assertWithin(payment, amount, moneyOf(payment).refundable, "refunded");
  const reference = `sr_${ids()}`;
  const refunded = factOf("REFUNDED", reference, amount, { now, requestId });
  if (behaviorOf(payment.token).declines !== "REFUND") return add(payment, [refunded]);
  const note = "The buyer's bank has returned the refund.";
  return add(payment, [refunded, factOf("REFUND_FAILED", reference, amount, { now, requestId, note })], 1);
}

/** Returns the facts of a dispute that follows a capture, if there is one. */
function disputeFacts(token: string, amount: Money, { now, ids }: TransitionOptions): SandboxFact[] {
  const reference = `sd_${ids()}`;
  const { disputes = [] } = behaviorOf(token);
  return disputes.map((type) => factOf(type, reference, amount, { now }));
}

/** @throws GatewayError REJECTED when an amount is not positive, has another currency, or is more than `max` */
function assertWithin(payment: SandboxPayment, amount: Money, max: bigint, participle: string): void {
  if (amount.currencyCode !== payment.amount.currencyCode) {
    throw rejected("currency_mismatch", `The payment has the currency ${payment.amount.currencyCode}.`);
  }
  if (amount.minorUnits > 0n && amount.minorUnits <= max) return;
  throw rejected("amount_out_of_range", `At least 1 and at most ${max} minor units can be ${participle}.`);
}

function voidedFact({ id, amount }: SandboxPayment, minorUnits: bigint, now: Date): SandboxFact {
  return factOf("VOIDED", id, { ...amount, minorUnits }, { now });
}

function factOf(
  type: LedgerEntryType,
  reference: string,
  amount: Money,
  { now, ...details }: { now: Date; requestId?: string; note?: string },
): SandboxFact {
  return { type, reference, amount, time: now, ...details };
}

function add(payment: SandboxPayment, facts: readonly SandboxFact[], factsAfter = 0): Transition {
  return {
    payment: { ...payment, facts: [...payment.facts, ...facts] },
    facts,
    isExecuted: true,
    factsAfter,
  };
}

function unchanged(payment: SandboxPayment, isExecuted: boolean): Transition {
  return { payment, facts: [], isExecuted, factsAfter: 0 };
}

function isEqual(a: Money, b: Money): boolean {
  return a.currencyCode === b.currencyCode && a.minorUnits === b.minorUnits;
}

function rejected(code: string, message: string): GatewayError {
  return new GatewayError("REJECTED", message, { code });
}
