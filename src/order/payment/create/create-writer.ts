import { sql } from "kysely";
import {
  type BatchWriter,
  createBatchWriter,
  type Outcome,
} from "../../../infra/batch-writer/batch-writer.ts";
import type { CaptureMethod, PaymentGateway } from "../../../infra/payment/payment-gateway.ts";
import { requestIdReused } from "../../../infra/postgres/idempotency/run-idempotent.ts";
import type { Database, Tx } from "../../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../../infra/postgres/statement.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { AppError, notFound } from "../../../kernel/errors.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Money } from "../../../kernel/money.ts";
import { storedCancelledUnits } from "../../change/event-details.ts";
import { type EnqueueRequests, insertRequests, type NewRequest } from "../../ledger/insert-requests.ts";
import type { Order } from "../../order-types.ts";
import { assertTransition, isAllowed } from "../../state/transitions.ts";
import {
  findBlocking,
  findLockedOrders,
  type LockedPaymentRow,
  type LockedPayments,
  lockPayments,
} from "../locked-payments.ts";
import { assertAmountDue, paymentOpenError } from "../payment-errors.ts";

/** A payment to create. */
export interface NewPayment {
  /** Id of the payment if this call creates it. */
  id: string;
  orderId: string;
  /** The customer to whom the order must belong; null: any customer, or none. */
  customerId: string | null;
  /** What the buyer has seen; undefined for all that is due. */
  amount: Money | undefined;
  /** Token of the payment method; empty: the buyer's client confirms the payment. */
  methodToken: string;
  requestId: string;
  fingerprint: Buffer;
}

/** A payment that this call or an earlier one has created. */
export interface CreatedPayment {
  row: LockedPaymentRow;
  /** Whether the gateway is to be called: its response to the creation is unknown, and the order waits for it. */
  mustCallGateway: boolean;
}

/** Dependencies and limits of creating payments. */
export interface CreateWriterOptions {
  db: Database;
  enqueueRequests: EnqueueRequests;
  gateway: PaymentGateway;
  capture: CaptureMethod;
  ids: Ids;
  clock: Clock;
  log: Log;
  statementTimeoutMs: number;
  waitMs: number;
}

/** Creates payments, those of concurrent calls in shared transactions. */
export type CreateWriter = BatchWriter<NewPayment, CreatedPayment>;

/** Time after which the gateway is asked about a payment without a response, in milliseconds. */
export const DOUBT_MS = 30_000;
/** Maximum number of payments of an order, failed ones included. */
const MAX_PAYMENTS = 100;
const LIMITS = { items: 256, keys: 256, maxInFlight: 2, waiting: 10_000 };
/** Far longer than another replica's batch holds its locks, and far shorter than the callers' deadlines. */
const LOCK_TIMEOUT_MS = 100;

interface InsertedPayment extends LockedPaymentRow {
  method_token: string;
  /** JSON; null if there are none. */
  cancelled_units: string | null;
  check_at: Date;
}

const COLUMNS: readonly ListColumn<InsertedPayment>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "order_id", type: "uuid", value: (row) => row.order_id },
  { name: "gateway", type: "text", value: ({ gateway }) => gateway },
  { name: "amount_minor", type: "bigint", value: (row) => row.amount_minor },
  { name: "currency", type: "text", value: ({ currency }) => currency },
  { name: "capture", type: "text", value: ({ capture }) => capture },
  { name: "method_token", type: "text", value: (row) => row.method_token || null },
  { name: "cancelled_units", type: "jsonb", value: (row) => row.cancelled_units },
  { name: "check_at", type: "timestamptz", value: (row) => row.check_at },
  { name: "request_id", type: "uuid", value: (row) => row.request_id },
  { name: "fingerprint", type: "bytea", value: ({ fingerprint }) => fingerprint },
  { name: "at", type: "timestamptz", value: (row) => row.created_at },
];
const INSERT = prepareList<object>(
  COLUMNS.length,
  (arrays) => sql`
    insert into payment (
      id, order_id, gateway, amount_minor, currency, capture, step, state, is_open, method_token, cancelled_units,
      check_reason, check_at, request_id, fingerprint, created_at, updated_at
    )
    select id, order_id, gateway, amount_minor, currency, capture, 'PENDING', 'PENDING', true, method_token,
      cancelled_units, 'DOUBT', check_at, request_id, fingerprint, at, at
    from ${unnest(COLUMNS, arrays, "payment")}`,
);

/** Creates the writer. */
export function createCreateWriter(options: CreateWriterOptions): CreateWriter {
  const { db, ids, clock, log, statementTimeoutMs, waitMs } = options;
  return createBatchWriter({
    db,
    audit: { ids, clock },
    statementTimeoutMs,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log,
    limits: { ...LIMITS, waitMs },
    work: {
      keysOf: ({ orderId }) => [orderId],
      lock: (tx, items: readonly NewPayment[]) => lockPayments(tx, orderIdsOf(items)),
      write: (tx, locked, items) => writePayments(options, tx, locked, items),
      findLocked: (tx, items) => findLockedOrders(tx, orderIdsOf(items)),
    },
  });
}

/** Creates a payment in a transaction of the caller, such as one that is rolled back. @throws AppError as the writer does */
export async function writePayment(
  options: CreateWriterOptions,
  tx: Tx,
  item: NewPayment,
): Promise<CreatedPayment> {
  const [outcome] = await writePayments(options, tx, await lockPayments(tx, [item.orderId]), [item]);
  if (outcome === undefined) throw new Error("the payment has no outcome");
  if ("error" in outcome) throw outcome.error;
  return outcome.result;
}

function orderIdsOf(items: readonly NewPayment[]): string[] {
  return items.map(({ orderId }) => orderId);
}

/** Decides on payments in their order, and writes those that are accepted. */
async function writePayments(
  options: CreateWriterOptions,
  tx: Tx,
  locked: ReadonlyMap<string, LockedPayments>,
  items: readonly NewPayment[],
): Promise<Outcome<CreatedPayment>[]> {
  const now = options.clock.now();
  const inserted: InsertedPayment[] = [];
  const requests: NewRequest[] = [];
  const outcomes = items.map((item): Outcome<CreatedPayment> => {
    try {
      const { order, payments } = lockedOrder(locked, item);
      // Of the calls of one batch, too.
      const all = [...payments, ...inserted.filter((row) => row.order_id === order.id)];
      const earlier = all.find((row) => row.request_id === item.requestId);
      if (earlier !== undefined) return { result: repeatedPayment(order, earlier, item) };
      assertPayable(options, order, all, item);
      const row = newRow(options, order, item, now);
      inserted.push(row);
      requests.push(...cancellationsOf(options, payments, now));
      return { result: { row, mustCallGateway: true } };
    } catch (error) {
      return { error };
    }
  });
  if (inserted.length > 0) await tx.query(INSERT(arraysOf(COLUMNS, inserted)));
  await insertRequests(tx, options.enqueueRequests, requests);
  return outcomes;
}

/** @throws AppError not_found, also for another customer's order */
function lockedOrder(
  locked: ReadonlyMap<string, LockedPayments>,
  { orderId, customerId }: NewPayment,
): LockedPayments {
  const found = locked.get(orderId);
  if (found === undefined || (customerId !== null && customerId !== found.order.customerId))
    throw notFound("order", orderId);
  return found;
}

/** @throws AppError invalid_argument when the request_id was used for another request */
function repeatedPayment(order: Order, row: LockedPaymentRow, { fingerprint }: NewPayment): CreatedPayment {
  if (row.fingerprint === null || !fingerprint.equals(row.fingerprint)) throw requestIdReused();
  // The process of the first call may have died before it called the gateway.
  const isUnanswered = row.is_open && row.state === "PENDING" && row.reference === null;
  return { row, mustCallGateway: isUnanswered && isAllowed(order, "PAY") };
}

/** @throws AppError failed_precondition */
function assertPayable(
  { gateway }: CreateWriterOptions,
  order: Order,
  payments: readonly LockedPaymentRow[],
  { amount }: NewPayment,
): void {
  assertTransition(order, "PAY");
  if (amount !== undefined) assertAmountDue(order, amount);
  gateway.assertChargeable(order.amountDue);
  const blocking = findBlocking(payments);
  if (blocking !== undefined) throw paymentOpenError(order.id, blocking);
  if (payments.length >= MAX_PAYMENTS) throw tooManyPayments(order.id);
}

function newRow(
  { gateway, capture }: CreateWriterOptions,
  { id: orderId, amountDue, items, fulfillmentState }: Order,
  { id, methodToken, requestId, fingerprint }: NewPayment,
  now: Date,
): InsertedPayment {
  const at = now.toISOString();
  return {
    id,
    order_id: orderId,
    gateway: gateway.name,
    reference: null,
    amount_minor: amountDue.minorUnits.toString(),
    currency: amountDue.currencyCode,
    // No first shipment follows that would capture it.
    capture: fulfillmentState === "UNFULFILLED" ? capture : "AT_ORDER",
    state: "PENDING",
    authorized_minor: "0",
    captured_minor: "0",
    refunded_minor: "0",
    disputed_minor: "0",
    lost_minor: "0",
    requested_refund_minor: "0",
    client_secret: null,
    failure_code: null,
    failure_message: null,
    manual_reference: null,
    capture_before: null,
    check_reason: "DOUBT",
    has_dead_request: false,
    created_at: at,
    updated_at: at,
    is_open: true,
    request_id: requestId,
    fingerprint,
    is_being_cancelled: false,
    is_being_captured: false,
    method_token: methodToken,
    cancelled_units: storedCancelledUnits(items),
    check_at: new Date(now.getTime() + DOUBT_MS),
  };
}

/** Returns the requests that keep failed payments from being made after all by the buyer's client. */
function cancellationsOf(
  { gateway, ids }: CreateWriterOptions,
  payments: readonly LockedPaymentRow[],
  now: Date,
): NewRequest[] {
  return payments
    .filter(
      (row) =>
        row.gateway === gateway.name &&
        row.state === "FAILED" &&
        row.reference !== null &&
        !row.is_being_cancelled,
    )
    .map(({ id, order_id: orderId }) => ({
      id: ids(),
      paymentId: id,
      orderId,
      kind: "CANCEL",
      minorUnits: null,
      isFinal: true,
      now,
    }));
}

function tooManyPayments(orderId: string): AppError {
  const description = `the order has ${MAX_PAYMENTS} payments, the maximum`;
  return new AppError("failed_precondition", `No payment was created: ${description}. Place another order.`, {
    reason: "PAYMENT_LIMIT_REACHED",
    preconditions: [{ type: "PAYMENTS", subject: `orders/${orderId}`, description }],
  });
}
