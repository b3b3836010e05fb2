import type { Money } from "../../../kernel/money.ts";
import type {
  CaptureMethod,
  GatewayReport,
  LedgerEntryType,
  LedgerFact,
  PaymentFailure,
  PaymentStep,
} from "../payment-gateway.ts";

/** A fact with the time at which it became true. */
export interface SandboxFact extends LedgerFact {
  time: Date;
}

/** A payment at the sandbox. */
export interface SandboxPayment {
  /** Id at the sandbox. */
  id: string;
  /** The caller's id. */
  paymentId: string;
  orderId: string;
  amount: Money;
  capture: CaptureMethod;
  /** Token of the payment method; empty for none yet. */
  token: string;
  /** PENDING once money is authorized or captured. */
  step: PaymentStep;
  clientSecret: string;
  /** Oldest first. */
  facts: readonly SandboxFact[];
  /** Kinds and ids of the requests that were executed, besides the creation. */
  requests: readonly string[];
  captureBefore: Date | undefined;
}

/** The amounts of a payment, in minor units. */
export interface SandboxMoney {
  captured: bigint;
  /** Refunds that have not failed. */
  refunded: bigint;
  /** What can be captured. */
  open: bigint;
  /** What can be refunded. */
  refundable: bigint;
}

/** Returns the amounts of a payment. */
export function moneyOf({ facts }: SandboxPayment): SandboxMoney {
  const sum = (type: LedgerEntryType) =>
    facts.reduce((total, fact) => (fact.type === type ? total + fact.amount.minorUnits : total), 0n);
  const captured = sum("CAPTURED");
  const refunded = sum("REFUNDED") - sum("REFUND_FAILED");
  const authorized = sum("AUTHORIZED");
  const isOpen = authorized > captured && !facts.some(({ type }) => type === "VOIDED");
  return {
    captured,
    refunded,
    open: isOpen ? authorized - captured : 0n,
    refundable: captured - refunded - sum("DISPUTED") + sum("DISPUTE_WON"),
  };
}

/** Returns the statement about a payment in a response. */
export function reportOf(payment: SandboxPayment): GatewayReport {
  const { facts, step } = payment;
  const failure = facts.findLast(({ type }) => type === "AUTHORIZATION_FAILED");
  return {
    paymentId: payment.paymentId,
    reference: payment.id,
    amount: payment.amount,
    facts,
    captureBefore: payment.captureBefore,
    ...(step !== "PENDING" && { step }),
    ...(step === "ACTION_REQUIRED" && { clientSecret: payment.clientSecret }),
    ...(step === "FAILED" && failure !== undefined && { failure: failureOf(failure) }),
  };
}

/** Returns the reason of a fact that states a failure. */
export function failureOf({ note = "" }: LedgerFact): PaymentFailure {
  return { code: "declined", message: note };
}
