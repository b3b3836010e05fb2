import {
  GatewayError,
  type GatewayReport,
  type IntentRequest,
  type LedgerFact,
  type PaymentGateway,
  type PaymentStep,
} from "../../../src/infra/payment/payment-gateway.ts";
import { AppError } from "../../../src/kernel/errors.ts";

/** The methods whose calls are counted and can fail. */
export type GatewayMethod = "createIntent" | "confirm" | "capture" | "cancel" | "refund" | "fetch";

/** How the next call of a method fails. */
export interface GatewayFault {
  /** Awaited before the work. */
  delay?: Promise<unknown>;
  /** Thrown before the work. */
  before?: GatewayError;
  /** Thrown after the work. */
  after?: GatewayError;
}

interface MemoryPayment extends IntentRequest {
  reference: string;
  step: PaymentStep;
  facts: LedgerFact[];
}

/** A gateway in the memory of the process, whose calls tests count and make fail. */
export interface MemoryGateway extends PaymentGateway {
  /** The calls in their order, with their idempotency keys. */
  readonly calls: readonly { method: GatewayMethod; key: string }[];
  /** Makes the next calls of a method fail, one by each fault. */
  failNext(method: GatewayMethod, ...faults: GatewayFault[]): void;
  /** Returns the facts of a payment by our id. */
  factsOf(paymentId: string): readonly LedgerFact[];
}

/** A lost response. */
export const noResponse = (): GatewayError => new GatewayError("UNKNOWN", "The gateway did not respond.");
/** A definite failure. */
export const rejection = (code = "invalid"): GatewayError =>
  new GatewayError("REJECTED", "The gateway has rejected the call.", { code });

/** Returns the facts of a payment that is made with a method. */
function factsOfMethod(
  { amount, capture, paymentId }: IntentRequest,
  reference: string,
  token: string,
): LedgerFact[] {
  if (token === "declined") return [{ type: "AUTHORIZATION_FAILED", reference: `ch_${paymentId}`, amount }];
  const authorized: LedgerFact = { type: "AUTHORIZED", reference, amount };
  const captured: LedgerFact = { type: "CAPTURED", reference: `ch_${paymentId}`, amount };
  return capture === "AT_ORDER" ? [authorized, captured] : [authorized];
}

/**
 * Creates a gateway. Without a token or with `second_step` a payment is ACTION_REQUIRED, with `declined` it fails, and with
 * any other token it succeeds.
 */
export function createMemoryGateway({ capturesInParts = false } = {}): MemoryGateway {
  const payments = new Map<string, MemoryPayment>();
  const responses = new Map<string, GatewayReport>();
  const faults = new Map<GatewayMethod, GatewayFault[]>();
  const calls: { method: GatewayMethod; key: string }[] = [];

  async function run<T>(method: GatewayMethod, key: string, work: () => T): Promise<T> {
    calls.push({ method, key });
    const fault = faults.get(method)?.shift();
    await fault?.delay;
    if (fault?.before !== undefined) throw fault.before;
    const result = work();
    if (fault?.after !== undefined) throw fault.after;
    return result;
  }
  /** Runs a change once for each key. */
  const once = (method: GatewayMethod, key: string, work: () => GatewayReport) =>
    run(method, key, () => {
      const response = responses.get(`${method} ${key}`) ?? work();
      responses.set(`${method} ${key}`, response);
      return response;
    });
  const find = (paymentId: string): MemoryPayment => {
    const payment = payments.get(paymentId);
    if (payment === undefined) throw rejection("resource_missing");
    return payment;
  };
  const reportOf = ({ paymentId, reference, amount, step, facts }: MemoryPayment): GatewayReport => ({
    paymentId,
    reference,
    amount,
    step,
    clientSecret: `secret_${paymentId}`,
    facts: [...facts],
  });
  const sum = (payment: MemoryPayment, type: LedgerFact["type"]) =>
    payment.facts
      .filter((fact) => fact.type === type)
      .reduce((total, fact) => total + fact.amount.minorUnits, 0n);
  const pay = (payment: MemoryPayment, token: string) => {
    payment.facts.push(...factsOfMethod(payment, payment.reference, token));
    payment.step = token === "declined" ? "FAILED" : "PENDING";
  };
  const voidRest = (payment: MemoryPayment) =>
    payment.facts.push({
      type: "VOIDED",
      reference: payment.reference,
      amount: { ...payment.amount, minorUnits: sum(payment, "AUTHORIZED") - sum(payment, "CAPTURED") },
    });

  return {
    name: "sandbox",
    capturesInParts,
    publishableKey: "pk_memory",
    calls,
    failNext: (method, ...added) => faults.set(method, [...(faults.get(method) ?? []), ...added]),
    factsOf: (paymentId) => find(paymentId).facts,
    assertChargeable({ currencyCode }) {
      // The code of ISO 4217 for no currency.
      if (currencyCode !== "XXX") return;
      throw new AppError("failed_precondition", "XXX cannot be charged.", {
        reason: "AMOUNT_NOT_CHARGEABLE",
      });
    },
    createIntent: (request) =>
      once("createIntent", request.paymentId, () => {
        const needsStep = request.methodToken === "" || request.methodToken === "second_step";
        const payment: MemoryPayment = {
          ...request,
          reference: `pi_${request.paymentId}`,
          step: needsStep ? "ACTION_REQUIRED" : "PENDING",
          facts: [],
        };
        payments.set(request.paymentId, payment);
        if (!needsStep) pay(payment, request.methodToken);
        return reportOf(payment);
      }),
    confirm: ({ paymentId, requestId, methodToken }) =>
      once("confirm", requestId, () => {
        const payment = find(paymentId);
        if (payment.step === "CANCELLED") throw rejection("payment_intent_unexpected_state");
        pay(payment, methodToken);
        return reportOf(payment);
      }),
    capture: ({ paymentId, captureId, amount, isFinal }) =>
      once("capture", captureId, () => {
        const payment = find(paymentId);
        if (sum(payment, "VOIDED") > 0n || sum(payment, "AUTHORIZED") === 0n)
          throw rejection("not_capturable");
        payment.facts.push({ type: "CAPTURED", reference: captureId, amount, requestId: captureId });
        if (isFinal && sum(payment, "CAPTURED") < sum(payment, "AUTHORIZED")) voidRest(payment);
        return reportOf(payment);
      }),
    cancel: ({ paymentId, cancelId }) =>
      once("cancel", cancelId, () => {
        const payment = find(paymentId);
        const isVoided = payment.facts.some(({ type }) => type === "VOIDED");
        if (sum(payment, "CAPTURED") === 0n) payment.step = "CANCELLED";
        if (sum(payment, "AUTHORIZED") > sum(payment, "CAPTURED") && !isVoided) voidRest(payment);
        return reportOf(payment);
      }),
    refund: ({ paymentId, refundId, amount }) =>
      once("refund", refundId, () => {
        const payment = find(paymentId);
        payment.facts.push({ type: "REFUNDED", reference: `re_${refundId}`, amount, requestId: refundId });
        return reportOf(payment);
      }),
    fetch: ({ paymentId }) =>
      run("fetch", paymentId, () => {
        const payment = payments.get(paymentId);
        return payment && reportOf(payment);
      }),
    verifyWebhook: () => {
      throw new Error("the gateway in memory sends no webhooks");
    },
    readWebhook: () => {
      throw new Error("the gateway in memory sends no webhooks");
    },
  };
}
