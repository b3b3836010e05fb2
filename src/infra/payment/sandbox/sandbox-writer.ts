import type { Call } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { SECOND_MS } from "../../../kernel/durations.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Log } from "../../../kernel/log.ts";
import { createBatchWriter, type Outcome } from "../../batch-writer/batch-writer.ts";
import type { Database, Tx } from "../../postgres/postgres.ts";
import { GatewayError, type IntentRequest } from "../payment-gateway.ts";
import {
  LOCK_PAYMENTS,
  type NewEvent,
  paymentFromRow,
  SELECT_LOCKED,
  writePayments,
} from "./payment-rows.ts";
import type { SandboxPayment } from "./sandbox-payment.ts";
import { behaviorOf } from "./sandbox-tokens.ts";
import {
  changePayment,
  createPayment,
  type PaymentChange,
  repeatCreation,
  type Transition,
} from "./transitions.ts";
import { createEvent } from "./webhook/sandbox-event.ts";

/** A request that changes a payment. */
export type SandboxRequest = ({ kind: "CREATE" } & IntentRequest) | PaymentChange;

/** What a request has done. */
export interface SandboxResult extends Transition {
  /** The events of its facts. */
  events: readonly NewEvent[];
}

/** Dependencies and limits of the writer. */
export interface SandboxWriterOptions {
  db: Database;
  clock: Clock;
  ids: Ids;
  log: Log;
  /** Upper bound of one statement, in milliseconds. */
  statementTimeoutMs: number;
  /** Longest time that a request waits for a transaction to share, in milliseconds. */
  waitMs: number;
  /**
   * Time in which the process that writes events tries to deliver them, in milliseconds; afterwards they are due for all
   * processes. 0: it does not deliver them.
   */
  leaseMs(): number;
}

/** Delay of the webhook of a payment whose authorization gets no response. */
const DELAY_MS = SECOND_MS;

const LIMITS = { items: 256, keys: 256, maxInFlight: 2, waiting: 10_000 };
/** Another process holds a row for one batch. */
const LOCK_TIMEOUT_MS = 1_000;

type Payments = ReadonlyMap<string, SandboxPayment>;

/**
 * Creates the writer of payments: concurrent requests share transactions of two statements.
 * @returns a function that executes a request; it throws GatewayError REJECTED when the request cannot be executed, and
 *   AppError when the database failed
 */
export function createSandboxWriter(
  options: SandboxWriterOptions,
): (call: Call, request: SandboxRequest) => Promise<SandboxResult> {
  const { db, clock, ids, log, statementTimeoutMs, waitMs } = options;
  const writer = createBatchWriter<SandboxRequest, Payments, SandboxResult>({
    db,
    audit: { ids, clock },
    statementTimeoutMs,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log,
    limits: { ...LIMITS, waitMs },
    work: {
      keysOf: ({ paymentId }) => [paymentId],
      async lock(tx, requests) {
        const rows = await tx.query(LOCK_PAYMENTS(paymentIdsOf(requests)));
        return new Map(rows.map((row) => [row.payment_id, paymentFromRow(row)]));
      },
      write: (tx, payments, requests) => executeRequests(options, tx, payments, requests),
      async findLocked(tx, requests) {
        const rows = await tx.query(SELECT_LOCKED(paymentIdsOf(requests)));
        return new Set(rows.map(({ payment_id }) => payment_id));
      },
    },
  });
  return (call, request) => writer.write(call, request);
}

/** Executes requests in their order and writes what they changed. */
async function executeRequests(
  options: SandboxWriterOptions,
  tx: Tx,
  payments: Payments,
  requests: readonly SandboxRequest[],
): Promise<Outcome<SandboxResult>[]> {
  const now = options.clock.now();
  const states = new Map(payments);
  const outcomes = requests.map((request): Outcome<SandboxResult> => {
    try {
      const transition = execute(states.get(request.paymentId), request, { now, ids: options.ids });
      states.set(request.paymentId, transition.payment);
      return { result: { ...transition, events: eventsOf(options, request, transition, now) } };
    } catch (error) {
      return { error };
    }
  });
  // Processes that create the same payments insert them in one order, so that they do not deadlock.
  const changed = [...states.values()]
    .filter((payment) => payment !== payments.get(payment.paymentId))
    .sort((a, b) => (a.paymentId < b.paymentId ? -1 : 1));
  if (changed.length === 0) return outcomes;
  const events = outcomes.flatMap((outcome) => ("result" in outcome ? outcome.result.events : []));
  const written = new Set((await tx.query(writePayments(changed, events, now))).map(({ id }) => id));
  const lost = new Set(changed.filter(({ id }) => !written.has(id)).map(({ id }) => id));
  return outcomes.map((outcome) =>
    "result" in outcome && lost.has(outcome.result.payment.id) ? { error: createdMeanwhile() } : outcome,
  );
}

function execute(
  payment: SandboxPayment | undefined,
  request: SandboxRequest,
  options: { now: Date; ids: Ids },
): Transition {
  if (request.kind !== "CREATE") return changePayment(payment, request, options);
  return payment === undefined ? createPayment(request, options) : repeatCreation(payment, request);
}

/** Returns the events of the new facts, which are due when the lease of this process ends. */
function eventsOf(
  { ids, leaseMs }: SandboxWriterOptions,
  request: SandboxRequest,
  { payment, facts }: Transition,
  now: Date,
): NewEvent[] {
  const isDelayed = hasTimeout(request, payment);
  const lease = leaseMs();
  return facts.map((fact) => ({
    ...createEvent(`se_${ids()}`, payment, fact),
    sandboxPaymentId: payment.id,
    createdAt: now,
    dueAt: new Date(now.getTime() + (isDelayed ? DELAY_MS : lease)),
    attempts: isDelayed || lease === 0 ? 0 : 1,
  }));
}

/** Returns whether a request whose facts are new gets no response. */
export function hasTimeout({ kind }: SandboxRequest, { token }: SandboxPayment): boolean {
  return (kind === "CREATE" || kind === "CONFIRM") && behaviorOf(token).fault === "TIMEOUT";
}

function paymentIdsOf(requests: readonly SandboxRequest[]): string[] {
  return requests.map(({ paymentId }) => paymentId);
}

/** Returns the error of a creation that was executed in another process at the same time. */
function createdMeanwhile(): GatewayError {
  return new GatewayError("UNKNOWN", "Another request creates the payment. Repeat the request.", {
    code: "idempotency_key_in_use",
  });
}
