import { afterEach } from "vitest";
import type {
  CaptureMethod,
  GatewayReport,
  IntentRequest,
  LedgerFact,
  PaymentGateway,
  PaymentReference,
} from "../../../src/infra/payment/payment-gateway.ts";
import type { Money } from "../../../src/kernel/money.ts";

/** A gateway with what its tests need. */
export interface GatewayUnderTest {
  gateway: PaymentGateway;
  tokens: {
    ok: string;
    declined: string;
    secondStep: string;
    captureDeclined: string;
    refundFailed: string;
  };
  /** Takes the second step of the buyer, and confirms the payment. */
  takeSecondStep(payment: PaymentReference, succeeds: boolean): Promise<GatewayReport>;
  /** Returns the webhooks so far with signatures of now, oldest first. */
  sentWebhooks(): Promise<{ headers: Record<string, string>; body: Buffer }[]>;
  close(): Promise<void>;
}

/** Options of one call. */
export const limits = () => ({ signal: new AbortController().signal, timeoutMs: 20_000 });

/** Returns an amount of euros. */
export const eur = (minorUnits: bigint): Money => ({ currencyCode: "EUR", minorUnits });

/** Returns the parts of facts that identify them, sorted. */
export function factsOf(...reports: readonly (GatewayReport | undefined)[]): string[] {
  const facts = reports.flatMap((report) => report?.facts ?? []);
  const texts = facts.map(
    ({ type, reference, amount, requestId = "" }: LedgerFact) =>
      `${type} ${reference} ${amount.minorUnits} ${amount.currencyCode} ${requestId}`,
  );
  return [...new Set(texts)].sort();
}

/** Returns type and amount of facts, sorted. */
export function amountsOf(report: GatewayReport | undefined): string[] {
  return (report?.facts ?? []).map(({ type, amount }) => `${type} ${amount.minorUnits}`).sort();
}

/** Creates payments for the tests of one gateway. */
export interface GatewayFixture {
  create(options?: PaymentOptions): Promise<CreatedPayment>;
}

/** A payment to create. */
export interface PaymentOptions {
  amount?: Money;
  capture?: CaptureMethod;
  /** Empty for none. */
  token?: keyof GatewayUnderTest["tokens"] | "";
  capturesInParts?: boolean;
}

/** A payment with its gateway. */
export interface CreatedPayment extends GatewayUnderTest {
  request: IntentRequest;
  report: GatewayReport;
  payment: PaymentReference;
}

/** Starts a gateway. */
export type StartGateway = (options: { capturesInParts: boolean }) => Promise<GatewayUnderTest>;

/** Creates payments, each at a gateway of its own that is closed when its test is over. */
export function createGatewayFixture(start: StartGateway): GatewayFixture {
  const started: GatewayUnderTest[] = [];
  afterEach(async () => {
    for (const one of started.splice(0)) await one.close();
  });
  return {
    async create({
      amount = eur(1_000n),
      capture = "AT_SHIPMENT",
      token = "ok",
      capturesInParts = false,
    } = {}) {
      const one = await start({ capturesInParts });
      started.push(one);
      const methodToken = token === "" ? "" : one.tokens[token];
      const request = {
        paymentId: crypto.randomUUID(),
        orderId: crypto.randomUUID(),
        amount,
        capture,
        methodToken,
      };
      const report = await one.gateway.createIntent(request, limits());
      return {
        ...one,
        request,
        report,
        payment: { paymentId: request.paymentId, reference: report.reference },
      };
    },
  };
}

/** Returns the facts of all webhooks so far. */
export async function webhookFacts({ gateway, sentWebhooks }: GatewayUnderTest): Promise<string[]> {
  const webhooks = await sentWebhooks();
  const reports = webhooks.map(
    ({ headers, body }) =>
      gateway.verifyWebhook({ headers: new Map(Object.entries(headers)), body, now: new Date() }).report,
  );
  return factsOf(...reports);
}
