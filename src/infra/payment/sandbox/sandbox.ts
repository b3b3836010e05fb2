import { setTimeout as sleep } from "node:timers/promises";
import { type Call, internalCall } from "../../../kernel/call.ts";
import { AppError, errorMessage, outcomeUnknown } from "../../../kernel/errors.ts";
import { isCurrency, MAX_MINOR_UNITS, type Money } from "../../../kernel/money.ts";
import type { Database } from "../../postgres/postgres.ts";
import { getSharedSecret, listSharedSecrets } from "../../postgres/secret/shared-secret.ts";
import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentGateway,
} from "../payment-gateway.ts";
import { verifyWebhookSignature } from "../webhook-signature.ts";
import { paymentFromRow, SELECT_PAYMENT } from "./payment-rows.ts";
import { moneyOf, reportOf } from "./sandbox-payment.ts";
import { behaviorOf } from "./sandbox-tokens.ts";
import {
  createSandboxWriter,
  hasTimeout,
  type SandboxRequest,
  type SandboxResult,
  type SandboxWriterOptions,
} from "./sandbox-writer.ts";
import { LEASE_MS, startDelivery, type WebhookDelivery } from "./webhook/delivery.ts";
import { readEvent, SIGNATURE_HEADER } from "./webhook/sandbox-event.ts";

/** Dependencies of the sandbox. */
export interface SandboxOptions extends Omit<SandboxWriterOptions, "leaseMs"> {
  /** Secrets of webhooks, newest first; all of them are valid, and the first one signs. */
  secrets: readonly string[];
}

/** A gateway that moves no money. Its payments and webhooks are rows of the database of the service. */
export interface Sandbox extends PaymentGateway {
  /**
   * Delivers webhooks from this process, also those that others have left undelivered.
   * @param serverUrl address of the service
   */
  deliverTo(serverUrl: string): WebhookDelivery;
}

/** Prefix of the names of the secrets. What follows sorts them: the last one is the newest. */
const SECRET_PREFIX = "sandbox-webhook/";

/** Returns the secrets of webhooks, newest first, which all replicas share. The first call creates one. */
export async function readWebhookSecrets(db: Database, call: Call): Promise<string[]> {
  await getSharedSecret(db, call, `${SECRET_PREFIX}0`);
  const secrets = await listSharedSecrets(db, call, SECRET_PREFIX);
  return secrets.map(({ value }) => value.toString("hex")).reverse();
}

/** Creates the sandbox. It delivers no webhooks until `deliverTo` is called. */
export function createSandbox(options: SandboxOptions): Sandbox {
  const { db, clock, log, secrets } = options;
  let delivery: WebhookDelivery | undefined;
  const execute = createSandboxWriter({ ...options, leaseMs: () => (delivery === undefined ? 0 : LEASE_MS) });

  async function run(request: SandboxRequest, limits: GatewayCall): Promise<GatewayReport> {
    const result = await withinLimits(limits, (call) => execute(call, request));
    if (result.isExecuted) {
      delivery?.add(result.events);
      if (result.facts.length > 0 && hasTimeout(request, result.payment)) await noResponse(limits);
      if (behaviorOf(result.payment.token).fault === "ERROR") throw internalError();
    }
    return responseOf(result);
  }
  return {
    name: "sandbox",
    capturesInParts: false,
    publishableKey: "",
    assertChargeable,
    createIntent: (request, limits) => run({ kind: "CREATE", ...request }, limits),
    confirm: (request, limits) => run({ kind: "CONFIRM", ...request }, limits),
    capture: ({ captureId, ...request }, limits) =>
      run({ kind: "CAPTURE", ...request, requestId: captureId }, limits),
    cancel: ({ cancelId, ...request }, limits) =>
      run({ kind: "CANCEL", ...request, requestId: cancelId }, limits),
    refund: ({ refundId, ...request }, limits) =>
      run({ kind: "REFUND", ...request, requestId: refundId }, limits),
    async fetch({ paymentId }, limits) {
      const [row] = await withinLimits(limits, (call) => db.read(call, SELECT_PAYMENT(paymentId)));
      if (row === undefined) return undefined;
      const payment = paymentFromRow(row);
      const { captured, refunded } = moneyOf(payment);
      return { ...reportOf(payment), totals: { captured, refunded } };
    },
    verifyWebhook({ headers, body, now }) {
      verifyWebhookSignature({ header: headers.get(SIGNATURE_HEADER), body, secrets, now });
      return readEvent(body);
    },
    readWebhook: readEvent,
    deliverTo(serverUrl) {
      const [secret] = secrets;
      if (secret === undefined) throw new Error("the sandbox has no secret of webhooks");
      delivery = startDelivery({ db, clock, log, secret, url: `${serverUrl}/webhooks/sandbox` });
      return delivery;
    },
  };
}

/** Returns the response, without the facts that happen after it. */
function responseOf({ payment, factsAfter }: SandboxResult): GatewayReport {
  return reportOf({ ...payment, facts: payment.facts.slice(0, payment.facts.length - factsAfter) });
}

/**
 * Runs a call of the database within the limits of a call of the gateway.
 * @throws GatewayError UNKNOWN when the database failed, or the time has passed
 */
async function withinLimits<T>(
  { signal, timeoutMs }: GatewayCall,
  work: (call: Call) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(() => limit.abort(outcomeUnknown()), timeoutMs);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await work({ ...internalCall(limit.signal), deadlineAtMs: performance.now() + timeoutMs });
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError("UNKNOWN", `The sandbox failed: ${errorMessage(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Waits until the time of a call has passed. @throws GatewayError UNKNOWN */
async function noResponse({ signal, timeoutMs }: GatewayCall): Promise<never> {
  await sleep(timeoutMs, undefined, { signal }).catch(() => {});
  throw new GatewayError("UNKNOWN", "The sandbox did not respond in time.", { code: "timeout" });
}

function internalError(): GatewayError {
  return new GatewayError("UNKNOWN", "The sandbox responded with status 500.", { code: "internal_error" });
}

function assertChargeable({ currencyCode, minorUnits }: Money): void {
  if (isCurrency(currencyCode) && minorUnits > 0n && minorUnits <= MAX_MINOR_UNITS) return;
  throw new AppError(
    "failed_precondition",
    `The sandbox charges 1 to ${MAX_MINOR_UNITS} minor units of a currency.`,
    { reason: "AMOUNT_NOT_CHARGEABLE" },
  );
}
