import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type LedgerFact,
  type PaymentGateway,
} from "../../../infra/payment/payment-gateway.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { AppError, errorMessage, truncated } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Money } from "../../../kernel/money.ts";
import type { OrderCancellation } from "../../change/cancel-order.ts";
import { insertDiscrepancies } from "../../ledger/discrepancies.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import type { Order } from "../../order-types.ts";
import { lockPayments } from "../locked-payments.ts";
import { type CaptureOptions, requestCaptures } from "./request-captures.ts";
import { findRequest, type PaymentRequest, recordAttempt } from "./request-rows.ts";
import { sendCapture } from "./send-capture.ts";

/** Dependencies of running requests. */
export interface RunOptions extends CaptureOptions {
  db: Database;
  clock: Clock;
  log: Log;
  gateway: PaymentGateway;
  timeoutMs: number;
  reports: ReportWriter;
  /** Cancels an order, and releases its units and its money. */
  cancelOrder(call: Call, cancellation: OrderCancellation, requestId: string): Promise<Order>;
}

/** An attempt to run a request. */
export interface RequestAttempt {
  /** Aborts the call of the gateway. */
  signal: AbortSignal;
  /** Number of this attempt, from 1. */
  attempt: number;
  /** Whether no further one follows by itself. */
  isLast: boolean;
}

/** The gateway has neither done what was requested nor rejected it. */
class UndecidedError extends Error {
  override readonly name = "UndecidedError";
}

/**
 * Calls the gateway for a request and records its response. A call without a response is repeated later by its idempotency
 * key. What follows from a failure is done before the request is FAILED: a process that dies in between repeats both.
 * @throws GatewayError, UndecidedError or AppError when the outcome is unknown
 */
export async function runRequest(options: RunOptions, id: string, attempt: RequestAttempt): Promise<void> {
  const [request] = await options.db.read(internalCall(), findRequest(id));
  if (request === undefined) return;
  switch (request.state) {
    case "OPEN":
    case "DEAD":
      await runUnfinished(options, request, attempt);
      break;
    case "FAILED":
      // A webhook has stated it before this attempt.
      await handleFailure(options, request, "the gateway has stated that it has failed");
      break;
    case "DONE":
      break;
  }
  if (request.kind === "CAPTURE" && options.capturesInParts)
    await requestNextCapture(options, request.id, request.order_id);
}

async function runUnfinished(
  options: RunOptions,
  request: PaymentRequest,
  attempt: RequestAttempt,
): Promise<void> {
  try {
    await applyResponse(options, request, await callGateway(options, request, attempt));
  } catch (error) {
    if (isRejection(error)) return handleRejection(options, request, error);
    await recordUnknown(options, request, attempt, error);
    throw error;
  }
}

const isRejection = (error: unknown): error is GatewayError =>
  error instanceof GatewayError && error.kind === "REJECTED";

/** Returns what the gateway states in response to a request. */
async function callGateway(
  options: RunOptions,
  request: PaymentRequest,
  { signal }: RequestAttempt,
): Promise<GatewayReport> {
  const { gateway, timeoutMs } = options;
  const { id, kind, payment_id: paymentId } = request;
  if (request.gateway !== gateway.name)
    throw new Error(`The gateway ${request.gateway} is not configured. Set PAYMENT_GATEWAY to it.`);
  const limits: GatewayCall = {
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    timeoutMs,
  };
  const reference = request.reference ?? (await findReference(gateway, paymentId, limits));
  // A payment that is created after all is late money, which is released.
  if (reference === undefined && kind === "CANCEL")
    return { paymentId, reference: "", step: "CANCELLED", facts: [] };
  if (reference === undefined) throw new UndecidedError(`The gateway has no payment ${paymentId}`);
  const payment = { paymentId, reference };
  switch (kind) {
    case "CANCEL":
      return gateway.cancel({ ...payment, cancelId: id }, limits);
    case "REFUND":
      return gateway.refund({ ...payment, refundId: id, amount: amountOf(request) }, limits);
    case "CAPTURE":
      return sendCapture(options, request, reference, limits);
  }
}

/** Returns the id that a payment without a response has at the gateway; undefined if there is none. */
async function findReference(
  gateway: PaymentGateway,
  paymentId: string,
  limits: GatewayCall,
): Promise<string | undefined> {
  const found = await gateway.fetch({ paymentId, reference: "" }, limits);
  return found?.reference;
}

function amountOf({ amount_minor: minor, currency }: PaymentRequest): Money {
  return { currencyCode: currency, minorUnits: BigInt(minor ?? 0) };
}

const FAILURES = { CAPTURE: "CAPTURE_FAILED", REFUND: "REFUND_FAILED" } as const;

/** Applies a response. @throws UndecidedError when it does not state what became of the request */
async function applyResponse(
  options: RunOptions,
  request: PaymentRequest,
  statement: GatewayReport,
): Promise<void> {
  const { id, kind, payment_id: paymentId } = request;
  const ownFacts = statement.facts.filter((fact) => fact.requestId === id || fact.reference === id);
  const failure = ownFacts.find(({ type }) => type === "CAPTURE_FAILED" || type === "REFUND_FAILED");
  if (failure !== undefined) await handleFailure(options, request, failure.note ?? "declined");
  // A response about another payment says nothing about the cancellation, whose job would end with it.
  const isDecided = kind === "CANCEL" ? isAbout(request, statement) : ownFacts.length > 0;
  await options.reports.apply({
    gateway: options.gateway.name,
    source: "RESPONSE",
    statement,
    paymentId,
    ...(isDecided && { requestId: id }),
  });
  if (!isDecided) throw new UndecidedError(`The gateway has not decided on ${kind} ${id} yet`);
}

/** Returns whether a response is about the payment of a request. */
function isAbout(request: PaymentRequest, { paymentId, reference }: GatewayReport): boolean {
  const isPayment = paymentId === "" || paymentId.toLowerCase() === request.payment_id;
  const isReference = reference === "" || request.reference === null || reference === request.reference;
  return isPayment && isReference;
}

/** Records that the gateway has rejected a request: it has done nothing. */
async function handleRejection(
  options: RunOptions,
  request: PaymentRequest,
  { message }: GatewayError,
): Promise<void> {
  const { id, kind, payment_id: paymentId, attempts } = request;
  if (kind === "CANCEL") {
    await handleFailure(options, request, message);
    const outcome = { state: "FAILED", attempts: attempts + 1, lastError: stored(message) } as const;
    await options.db.transact(internalCall(), (tx) =>
      recordAttempt(tx, request, outcome, options.clock.now()),
    );
    return;
  }
  const note = stored(message);
  const fact: LedgerFact = {
    type: FAILURES[kind],
    reference: id,
    amount: amountOf(request),
    requestId: id,
    note,
  };
  await applyResponse(options, request, { paymentId, reference: request.reference ?? "", facts: [fact] });
}

/** Records an attempt whose outcome is unknown. After the last one, the request is DEAD. */
async function recordUnknown(
  options: RunOptions,
  request: PaymentRequest,
  { attempt, isLast, signal }: RequestAttempt,
  error: unknown,
): Promise<void> {
  const { db, clock } = options;
  const lastError = stored(errorMessage(error));
  if (error instanceof GatewayError && error.kind === "CONTRADICTION") {
    await insertDiscrepancy(options, request, "WRONG_PAYMENT", lastError);
  }
  if (isLast) await handleFailure(options, request, lastError);
  const outcome = { state: isLast ? "DEAD" : "OPEN", attempts: attempt, lastError } as const;
  if (signal.aborted && !isLast) return;
  await db.transact(internalCall(), (tx) => recordAttempt(tx, request, outcome, clock.now()));
}

/**
 * Reports a request that has failed, or whose outcome stays unknown. An order of which nothing is shipped is cancelled if
 * its capture has failed, which releases its units. A capture that a cancellation has prevented is no failure.
 */
async function handleFailure(options: RunOptions, request: PaymentRequest, reason: string): Promise<void> {
  const isReported = await insertDiscrepancy(options, request, "REQUEST_FAILED", reason);
  if (isReported && request.kind === "CAPTURE") await cancelUnpaid(options, request.order_id);
}

/** @returns false for a capture of an order that is closed, which is not reported */
async function insertDiscrepancy(
  { db, ids, clock, log }: RunOptions,
  request: PaymentRequest,
  kind: "REQUEST_FAILED" | "WRONG_PAYMENT",
  reason: string,
): Promise<boolean> {
  const { id, payment_id: paymentId, order_id: orderId, gateway } = request;
  const expected = request.kind === "CANCEL" ? undefined : amountOf(request);
  const subject = { orderId, paymentId, gateway, reference: id, expected, actual: undefined };
  const description = `${request.kind}: ${reason}`;
  const isReported = await db.transact(internalCall(), async (tx) => {
    const order = (await lockPayments(tx, [orderId])).get(orderId)?.order;
    const isClosed = order?.closing === "CANCELLED" || order?.closing === "EXPIRED";
    if (isClosed && request.kind === "CAPTURE") return false;
    await insertDiscrepancies(tx, [{ id: ids(), kind, ...subject, description, createTime: clock.now() }]);
    return true;
  });
  if (isReported)
    log.error({ kind, requestId: id, paymentId, orderId, description }, "Payment request failed");
  return isReported;
}

/** Cancels an order whose payment cannot be captured, unless units of it are shipped. */
async function cancelUnpaid({ cancelOrder }: RunOptions, id: string): Promise<void> {
  const cancellation = { id, etag: "", reason: "The payment could not be captured." };
  try {
    await cancelOrder(internalCall(), cancellation, "");
  } catch (error) {
    if (!(error instanceof AppError && error.details.reason === "ORDER_STATE")) throw error;
  }
}

/**
 * Requests the next capture of an order whose shipments are captured one by one. A failed one is not requested again
 * without a shipment or a person: the gateway would reject it endlessly.
 */
async function requestNextCapture(options: RunOptions, id: string, orderId: string): Promise<void> {
  const [request] = await options.db.read(internalCall(), findRequest(id));
  if (request?.state !== "DONE") return;
  await options.db.transact(internalCall(), async (tx) => {
    const locked = (await lockPayments(tx, [orderId])).get(orderId);
    if (locked !== undefined) await requestCaptures(options, tx, locked.order, options.clock.now());
  });
}

/** Longest message of a gateway that is stored, in UTF-16 code units. */
const MAX_MESSAGE_LENGTH = 500;

/** PostgreSQL stores no NUL. */
const stored = (message: string): string =>
  truncated(message, MAX_MESSAGE_LENGTH).toWellFormed().replaceAll("\0", "\uFFFD");
