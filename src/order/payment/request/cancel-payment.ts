import { runMutation } from "../../../infra/postgres/idempotency/run-mutation.ts";
import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import type { OrderAccess } from "../../guest/order-access.ts";
import { insertRequests } from "../../ledger/insert-requests.ts";
import type { PaymentState } from "../../ledger/payment-money.ts";
import { findAccessible, getPayment, type PaymentReads, type ReadPayment } from "../list-payments.ts";
import { type LockedPayment, lockPayment } from "../locked-payments.ts";
import { paymentStateError } from "../payment-errors.ts";
import { type RunOptions, runRequest } from "./run-request.ts";

/** Dependencies of cancelling payments. */
export interface CancellationOptions extends RunOptions, PaymentReads {
  db: RunOptions["db"];
  orderAccess: OrderAccess;
  /** Logs calls of the gateway without a response, of which there are many while it is down. */
  warn: RunOptions["log"]["warn"];
}

const CANCELLABLE: ReadonlySet<PaymentState> = new Set(["PENDING", "ACTION_REQUIRED", "FAILED"]);

/**
 * Cancels a payment that is not made yet. Without a response of the gateway it stays as it is, and a job repeats the
 * cancellation. A cancelled payment stays as it is.
 * @throws AppError not_found, also for that of another customer's order; failed_precondition when the payment is authorized
 *   or captured; invalid_argument for a request_id of another request
 */
export async function cancelPayment(
  options: CancellationOptions,
  call: Call,
  { id, requestId }: { id: string; requestId: string },
): Promise<ReadPayment> {
  const { row, scope } = await findAccessible(options, call, id);
  const { result } = await runMutation(
    options.db,
    call,
    { method: "CancelPayment", owner: scope.requestOwner, requestId },
    { id },
    async (tx) => requestCancellation(options, tx, await lockPayment(tx, row)),
  );
  if (result.requestId !== "") await runNow(options, result.requestId);
  return getPayment(options, call, id);
}

/** @returns the id of the request that has no response yet; empty if the payment is cancelled */
async function requestCancellation(
  options: CancellationOptions,
  tx: Tx,
  { row, payment }: LockedPayment,
): Promise<{ requestId: string }> {
  if (row.state === "CANCELLED") return { requestId: "" };
  if (!CANCELLABLE.has(row.state))
    throw paymentStateError(payment, "it cannot be cancelled. Cancel the order instead.");
  if (row.is_being_cancelled) return { requestId: "" };
  const requestId = options.ids();
  const request = { id: requestId, paymentId: row.id, orderId: row.order_id, kind: "CANCEL" } as const;
  const now = options.clock.now();
  await insertRequests(tx, options.enqueueRequests, [{ ...request, minorUnits: null, isFinal: true, now }]);
  return { requestId };
}

/** Runs a request before its job does, so that the caller gets its outcome. */
async function runNow(options: CancellationOptions, requestId: string): Promise<void> {
  const attempt = { signal: new AbortController().signal, attempt: 1, isLast: false };
  try {
    await runRequest(options, requestId, attempt);
  } catch (error) {
    options.warn({ err: error, requestId }, "Cancellation of a payment got no response; its job repeats it");
  }
}
