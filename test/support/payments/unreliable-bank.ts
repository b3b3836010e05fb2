import {
  GatewayError,
  type IntentRequest,
  type LedgerEntryType,
  type LedgerFact,
  type PaymentStep,
} from "../../../src/infra/payment/payment-gateway.ts";

/** A payment as it really is. */
export interface BankPayment extends IntentRequest {
  reference: string;
  step: PaymentStep;
  /** All facts, oldest first. */
  facts: LedgerFact[];
}

/** What really happens to the money of a gateway, whatever it responds. Requests are idempotent by their keys. */
export interface UnreliableBank {
  readonly payments: readonly BankPayment[];
  /** The facts of all payments, oldest first. */
  readonly facts: readonly { payment: BankPayment; fact: LedgerFact }[];
  /** Requests to capture or refund more than there was. */
  readonly excess: readonly string[];
  create(request: IntentRequest): BankPayment;
  confirm(paymentId: string, requestId: string, token: string): BankPayment;
  capture(paymentId: string, captureId: string, minorUnits: bigint, isFinal: boolean): BankPayment;
  cancel(paymentId: string): BankPayment;
  refund(paymentId: string, refundId: string, minorUnits: bigint): BankPayment;
  /** Decides payments with the token `slow`, which were PENDING. */
  decide(): void;
  find(paymentId: string): BankPayment;
  /** Returns another payment than one, or the same if it is the only one. */
  otherThan(payment: BankPayment): BankPayment;
  totalsOf(payment: BankPayment): { captured: bigint; refunded: bigint };
}

/** Creates the money of a gateway. */
export function createBank(): UnreliableBank {
  const payments: BankPayment[] = [];
  const facts: { payment: BankPayment; fact: LedgerFact }[] = [];
  const excess: string[] = [];
  const keys = new Set<string>();

  const add = (payment: BankPayment, fact: Omit<LedgerFact, "amount">, minorUnits: bigint) => {
    const added = { ...fact, amount: { ...payment.amount, minorUnits } };
    payment.facts.push(added);
    facts.push({ payment, fact: added });
  };
  /** Returns whether a request is the first one with its key. */
  const isFirst = (key: string) => !keys.has(key) && keys.add(key) !== undefined;
  const find = (paymentId: string): BankPayment => {
    const found = payments.find((payment) => payment.paymentId === paymentId);
    if (found === undefined) throw rejected("no such payment");
    return found;
  };
  const authorize = (payment: BankPayment, token: string) => {
    const { reference, amount, capture } = payment;
    if (token === "declined") {
      add(
        payment,
        { type: "AUTHORIZATION_FAILED", reference: `ch_${facts.length}_${payment.reference}` },
        amount.minorUnits,
      );
      payment.step = "FAILED";
      return;
    }
    payment.step = token === "slow" || token === "ok" ? "PENDING" : "ACTION_REQUIRED";
    payment.methodToken = token;
    if (token !== "ok") return;
    const isCaptured = capture === "AT_ORDER";
    const fact = isCaptured
      ? ({ type: "CAPTURED", reference: `ch_${reference}` } as const)
      : ({ type: "AUTHORIZED", reference } as const);
    add(payment, fact, amount.minorUnits);
  };

  return {
    payments,
    facts,
    excess,
    find,
    otherThan: (payment) => payments.find((other) => other !== payment) ?? payment,
    totalsOf: (payment) => ({ captured: sumOf(payment, "CAPTURED"), refunded: sumOf(payment, "REFUNDED") }),
    create(request) {
      const existing = payments.find(({ paymentId }) => paymentId === request.paymentId);
      if (existing !== undefined) return existing;
      const payment: BankPayment = {
        ...request,
        reference: `pi_${request.paymentId}`,
        step: "PENDING",
        facts: [],
      };
      payments.push(payment);
      authorize(payment, request.methodToken);
      return payment;
    },
    confirm(paymentId, requestId, token) {
      const payment = find(paymentId);
      if (!isFirst(`confirm ${requestId}`)) return payment;
      if (payment.step === "CANCELLED" || sumOf(payment, "AUTHORIZED") + sumOf(payment, "CAPTURED") > 0n)
        throw rejected("not confirmable");
      authorize(payment, token);
      return payment;
    },
    capture(paymentId, captureId, minorUnits, isFinal) {
      const payment = find(paymentId);
      if (!isFirst(`capture ${captureId}`)) return payment;
      const open = openOf(payment);
      if (minorUnits > open) {
        // What was cancelled meanwhile cannot be captured, which is no mistake of the shop.
        if (!isVoided(payment)) excess.push(`capture of ${minorUnits}, ${open} is open`);
        throw rejected("not capturable");
      }
      add(payment, { type: "CAPTURED", reference: captureId, requestId: captureId }, minorUnits);
      if (isFinal && minorUnits < open)
        add(payment, { type: "VOIDED", reference: payment.reference }, open - minorUnits);
      return payment;
    },
    cancel(paymentId) {
      const payment = find(paymentId);
      const open = openOf(payment);
      if (open > 0n) add(payment, { type: "VOIDED", reference: payment.reference }, open);
      if (sumOf(payment, "CAPTURED") === 0n) payment.step = "CANCELLED";
      return payment;
    },
    refund(paymentId, refundId, minorUnits) {
      const payment = find(paymentId);
      if (!isFirst(`refund ${refundId}`)) return payment;
      const left = sumOf(payment, "CAPTURED") - sumOf(payment, "REFUNDED");
      if (minorUnits > left) {
        excess.push(`refund of ${minorUnits}, ${left} is left`);
        throw rejected("more than is left");
      }
      add(payment, { type: "REFUNDED", reference: `re_${refundId}`, requestId: refundId }, minorUnits);
      return payment;
    },
    decide() {
      for (const payment of payments) {
        if (payment.methodToken === "slow" && payment.step === "PENDING" && payment.facts.length === 0)
          authorize(payment, "ok");
      }
    },
  };
}

/** Returns the sum of the facts of a type, in minor units. */
export function sumOf({ facts }: { facts: Iterable<LedgerFact> }, type: LedgerEntryType): bigint {
  return [...facts]
    .filter((fact) => fact.type === type)
    .reduce((sum, { amount }) => sum + amount.minorUnits, 0n);
}

function isVoided({ facts }: BankPayment): boolean {
  return facts.some(({ type }) => type === "VOIDED");
}

function openOf(payment: BankPayment): bigint {
  const open = sumOf(payment, "AUTHORIZED") - sumOf(payment, "CAPTURED");
  return isVoided(payment) || open < 0n ? 0n : open;
}

const rejected = (message: string): GatewayError =>
  new GatewayError("REJECTED", message, { code: "invalid" });
