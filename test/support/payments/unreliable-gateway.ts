import {
  type GatewayReport,
  InvalidWebhookError,
  type LedgerFact,
  type PaymentGateway,
  type WebhookEvent,
} from "../../../src/infra/payment/payment-gateway.ts";
import { noResponse } from "./memory-gateway.ts";
import { type BankPayment, createBank, type UnreliableBank } from "./unreliable-bank.ts";

/**
 * How the next call of the gateway misbehaves. `lost`: it does nothing and does not respond. `error after work`: it does
 * not respond. `death`: it does the work, and the caller dies. `other payment`: it does the work, and responds about
 * another payment. `late`: it does the work, and responds when it is released.
 */
export type GatewayFault = "lost" | "error after work" | "death" | "other payment" | "late";

/** A webhook of the gateway: one fact of a payment. */
export interface BankEvent {
  id: string;
  report: GatewayReport;
}

/** A gateway in memory that misbehaves, with what has really happened and what it has stated. */
export interface UnreliableGateway extends PaymentGateway {
  readonly bank: UnreliableBank;
  /** All events, oldest first. They are delivered by the test: in any order, and several times. */
  readonly events: readonly BankEvent[];
  /** The facts that were stated in responses and webhooks, by payment. */
  readonly stated: ReadonlyMap<string, ReadonlySet<LedgerFact>>;
  /** How the next call misbehaves; undefined once it has. */
  nextFault: GatewayFault | undefined;
  /** Called when a call will never have a response, since its caller dies. */
  onDeath: () => void;
  /** Resolves when a call waits for its late response. */
  lateResponse(): Promise<void>;
  /** Sends the late responses. */
  release(): void;
  /** Records that an event was delivered, and returns its body. */
  deliver(event: BankEvent): Buffer;
}

/** The header with the signature of an event. */
export const SIGNATURE = ["signature", "valid"] as const;

/** Creates a gateway in memory. */
export function createUnreliableGateway(): UnreliableGateway {
  const bank = createBank();
  const stated = new Map<string, Set<LedgerFact>>();
  const held: (() => void)[] = [];
  let onLate = () => {};

  const state = (payment: BankPayment, facts: readonly LedgerFact[]): GatewayReport => {
    const { paymentId, reference, amount, step } = payment;
    const known = stated.get(paymentId) ?? new Set();
    stated.set(paymentId, known);
    for (const fact of facts) known.add(fact);
    return { paymentId, reference, amount, step, clientSecret: `secret_${reference}`, facts };
  };
  const respond = (payment: BankPayment): GatewayReport => state(payment, [...payment.facts]);

  async function run(work: () => BankPayment): Promise<GatewayReport> {
    const fault = gateway.nextFault;
    gateway.nextFault = undefined;
    if (fault === "lost") throw noResponse();
    const payment = work();
    switch (fault) {
      case "error after work":
        throw noResponse();
      case "death":
        gateway.onDeath();
        return new Promise(() => {});
      case "other payment":
        return respond(bank.otherThan(payment));
      case "late": {
        // The response is as old as the work.
        const { step, facts } = payment;
        const then = { ...payment, step, facts: [...facts] };
        await new Promise<void>((resolve) => {
          held.push(resolve);
          onLate();
        });
        return respond(then);
      }
      default:
        return respond(payment);
    }
  }

  const gateway: UnreliableGateway = {
    bank,
    get events() {
      return bank.facts.map(({ payment, fact }, index): BankEvent => {
        const { paymentId, reference } = payment;
        return { id: `event_${paymentId}_${index}`, report: { paymentId, reference, facts: [fact] } };
      });
    },
    stated,
    onDeath: () => {},
    nextFault: undefined,
    lateResponse: () =>
      new Promise((resolve) => {
        onLate = resolve;
      }),
    release() {
      for (const resolve of held.splice(0)) resolve();
    },
    deliver(event) {
      const payment = bank.find(event.report.paymentId);
      state(payment, event.report.facts);
      return Buffer.from(
        JSON.stringify(event, (_key, value) => (typeof value === "bigint" ? `${value}n` : value)),
      );
    },
    name: "sandbox",
    capturesInParts: true,
    publishableKey: "pk_test",
    assertChargeable: () => {},
    createIntent: (request) => run(() => bank.create(request)),
    confirm: ({ paymentId, requestId, methodToken }) =>
      run(() => bank.confirm(paymentId, requestId, methodToken)),
    capture: ({ paymentId, captureId, amount, isFinal }) =>
      run(() => bank.capture(paymentId, captureId, amount.minorUnits, isFinal)),
    cancel: ({ paymentId }) => run(() => bank.cancel(paymentId)),
    refund: ({ paymentId, refundId, amount }) =>
      run(() => bank.refund(paymentId, refundId, amount.minorUnits)),
    async fetch({ paymentId }) {
      const fault = gateway.nextFault;
      gateway.nextFault = undefined;
      if (fault === "lost" || fault === "error after work") throw noResponse();
      const payment = bank.payments.find((one) => one.paymentId === paymentId);
      return payment && { ...respond(payment), totals: bank.totalsOf(payment) };
    },
    verifyWebhook({ headers, body }) {
      const [name, value] = SIGNATURE;
      if (headers.get(name) !== value) throw new InvalidWebhookError("The signature is not valid.");
      return readEvent(body);
    },
    readWebhook: readEvent,
  };
  return gateway;
}

function readEvent(body: Buffer): WebhookEvent {
  const { id, report }: BankEvent = JSON.parse(body.toString(), (_key, value) =>
    typeof value === "string" && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  );
  return { id, type: "fact", createTime: new Date(0), report };
}
