import { runMutation } from "../../../infra/postgres/idempotency/run-mutation.ts";
import type { Database, Tx } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { AppError, invalidField } from "../../../kernel/errors.ts";
import type { Money } from "../../../kernel/money.ts";
import { capturableOf } from "../../ledger/capturable.ts";
import { readLedgerPayments } from "../../ledger/ledger-rows.ts";
import { findAccessible, type PaymentReads, type ReadPayment } from "../list-payments.ts";
import { type LockedPayment, lockPayment } from "../locked-payments.ts";
import { captureRunning, paymentStateError } from "../payment-errors.ts";
import { type CaptureOptions, insertCaptures } from "./request-captures.ts";

/** A request to capture a payment. */
export interface PaymentCapture {
  id: string;
  requestId: string;
  /** Undefined for all that is due. */
  amount: Money | undefined;
}

/** Dependencies of capturing payments. */
export interface CapturingOptions extends CaptureOptions, PaymentReads {
  db: Database;
  clock: Clock;
}

/**
 * Requests the capture of an authorized payment, which a job makes.
 * @returns the payment before the capture
 * @throws AppError not_found; failed_precondition when the payment is not authorized, a capture of it runs, or the amount is
 *   more than is due or left to capture, or less and the gateway captures a payment once; invalid_argument for an amount of 0 or in another currency, and for a request_id
 *   of another request
 */
export async function capturePayment(
  options: CapturingOptions,
  call: Call,
  { id, requestId, amount }: PaymentCapture,
): Promise<ReadPayment> {
  const { row, scope } = await findAccessible(options, call, id);
  const { result } = await runMutation(
    options.db,
    call,
    { method: "CapturePayment", owner: scope.requestOwner, requestId },
    { id, amount },
    async (tx) => {
      const locked = await lockPayment(tx, row);
      await requestCapture(options, tx, locked, amount);
      return locked.payment;
    },
  );
  return { ...result, isForStaff: scope.isStaff };
}

async function requestCapture(
  options: CapturingOptions,
  tx: Tx,
  { order, row, payment }: LockedPayment,
  amount: Money | undefined,
): Promise<void> {
  if (row.is_being_captured) throw captureRunning(row.id);
  const money = (await readLedgerPayments(tx, [order.id])).find(({ id }) => id === row.id);
  const left = money === undefined ? 0n : capturableOf(money);
  if (left === 0n) throw paymentStateError(payment, "only an authorized payment can be captured.");
  const due = order.amountDue.minorUnits;
  const most = left < due ? left : due;
  if (amount !== undefined) assertAmount(amount, row.currency);
  const minorUnits = amount?.minorUnits ?? most;
  if (minorUnits > most || minorUnits === 0n) throw captureTooLarge(row.id, minorUnits, most);
  if (!options.capturesInParts && minorUnits < most) throw captureTooSmall(row.id, minorUnits, most);
  const isFinal = !options.capturesInParts || minorUnits === due;
  const request = { id: options.ids(), paymentId: row.id, orderId: order.id, kind: "CAPTURE" } as const;
  const now = options.clock.now();
  await insertCaptures(options, tx, order, [{ ...request, minorUnits, isFinal, now }]);
}

function assertAmount({ currencyCode, minorUnits }: Money, currency: string): void {
  if (minorUnits <= 0n) throw invalidField("amount", "must be more than 0.");
  if (currencyCode !== currency)
    throw invalidField("amount", `must be in ${currency}, the currency of the payment.`);
}

function captureTooSmall(id: string, requested: bigint, capturable: bigint): AppError {
  const description = `the gateway captures a payment once: ${capturable} minor units can be captured now, and none after a capture of ${requested}`;
  return new AppError("failed_precondition", `The amount is too small: ${description}.`, {
    reason: "CAPTURE_TOO_SMALL",
    metadata: { capturable: capturable.toString() },
    preconditions: [{ type: "AMOUNT", subject: `payments/${id}`, description }],
  });
}

function captureTooLarge(id: string, requested: bigint, capturable: bigint): AppError {
  const description = `${capturable} minor units can be captured, ${requested} requested`;
  return new AppError("failed_precondition", `The amount is too large: ${description}.`, {
    reason: "CAPTURE_TOO_LARGE",
    metadata: { capturable: capturable.toString() },
    preconditions: [{ type: "AMOUNT", subject: `payments/${id}`, description }],
  });
}
