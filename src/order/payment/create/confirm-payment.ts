import { sql } from "kysely";
import { runMutation } from "../../../infra/postgres/idempotency/run-mutation.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import type { Call } from "../../../kernel/call.ts";
import type { PaymentState } from "../../ledger/payment-money.ts";
import { assertTransition } from "../../state/transitions.ts";
import { findAccessible, type ReadPayment } from "../list-payments.ts";
import { findBlocking, type LockedPayment, lockPayment } from "../locked-payments.ts";
import { assertAmountDue, paymentOpenError, paymentStateError } from "../payment-errors.ts";
import { paymentFromRow } from "../payment-row.ts";
import { callGateway } from "./call-gateway.ts";
import { applyResponse, type CreationOptions } from "./create-payment.ts";
import { DOUBT_MS } from "./create-writer.ts";

/** A request to confirm a payment. */
export interface PaymentConfirmation {
  id: string;
  requestId: string;
  /** Token of the payment method; empty for the one that the payment has. */
  methodToken: string;
}

const CONFIRMABLE: ReadonlySet<PaymentState> = new Set(["ACTION_REQUIRED", "FAILED"]);
const SET_DOUBT = prepare<[id: string, checkAt: Date, now: Date], object>(
  (id, checkAt, now) => sql`
    update payment set check_reason = 'DOUBT', check_at = ${checkAt}, checks = 0, updated_at = ${now} where id = ${id}`,
);

/**
 * Confirms a payment after the second step of the buyer, or with another method. Without a response of the gateway it
 * stays as it is, and the gateway is asked about it later. A repeat with the same request_id returns the payment as it is
 * now.
 * @throws AppError not_found, also for that of another customer's order; failed_precondition when the state of the payment
 *   or of the order forbids it, another amount is due or another payment is open; invalid_argument for a request_id of
 *   another request
 */
export async function confirmPayment(
  options: CreationOptions,
  call: Call,
  { id, requestId, methodToken }: PaymentConfirmation,
): Promise<ReadPayment> {
  const { row, scope } = await findAccessible(options, call, id);
  const isForStaff = scope.isStaff;
  const { replayed } = await runMutation(
    options.db,
    call,
    { method: "ConfirmPayment", owner: scope.requestOwner, requestId },
    { id, methodToken },
    async (tx) => beginConfirmation(options, tx, await lockPayment(tx, row)),
  );
  // The process of the first call may have died before it called the gateway, which recognizes the request_id.
  const isUnanswered = row.check_reason === "DOUBT" && CONFIRMABLE.has(row.state);
  if (replayed && !isUnanswered) return { ...paymentFromRow(row), isForStaff };
  const request = { paymentId: id, reference: row.reference ?? "", requestId, methodToken };
  const report = await callGateway(options, row, (gateway, limits) => gateway.confirm(request, limits));
  const payment =
    report === undefined
      ? paymentFromRow({ ...row, check_reason: "DOUBT" })
      : await applyResponse(options, row, report);
  return { ...payment, isForStaff };
}

/** Records that the outcome of the payment is unknown until the gateway has responded. */
async function beginConfirmation(
  { gateway, clock }: CreationOptions,
  tx: Tx,
  { order, payments, row, payment }: LockedPayment,
): Promise<void> {
  if (!CONFIRMABLE.has(row.state))
    throw paymentStateError(payment, "only one that waits for it can be confirmed.");
  if (row.reference === null || row.gateway !== gateway.name)
    throw paymentStateError(payment, "the gateway does not have it. Create another payment.");
  if (row.is_being_cancelled)
    throw paymentStateError(payment, "it is being cancelled. Create another payment.");
  assertTransition(order, "PAY");
  assertAmountDue(order, payment.amount);
  const blocking = findBlocking(payments, row.id);
  if (blocking !== undefined) throw paymentOpenError(order.id, blocking);
  const now = clock.now();
  await tx.query(SET_DOUBT(row.id, new Date(now.getTime() + DOUBT_MS), now));
}
