import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import { applyChanges, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { type PaymentMethod, storedCancelledUnits } from "../change/event-details.ts";
import { lockOrder } from "../change/lock-orders.ts";
import { recordSales } from "../change/promotion-purchases.ts";
import { readLedgerPayments } from "../ledger/ledger-rows.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { assertAmountDue, captureRunning, nothingDue } from "./payment-errors.ts";

/** A payment by hand. */
export interface ManualPayment {
  id: string;
  /** Empty for any version of the order. */
  etag: string;
  /** Must be what remains to be paid. */
  amount: Money;
  method: PaymentMethod;
  /** Number of the bank transfer or of the receipt. */
  reference: string;
}

const INSERT = prepare<
  [
    paymentId: string,
    entryId: string,
    orderId: string,
    amountMinor: string,
    currency: string,
    reference: string,
    cancelledUnits: string | null,
    now: Date,
  ],
  object
>(
  (paymentId, entryId, orderId, amountMinor, currency, reference, cancelledUnits, now) => sql`
    with payment as (
      insert into payment (
        id, order_id, gateway, amount_minor, currency, capture, step, state, is_open, captured_minor, manual_reference,
        cancelled_units, request_id, created_at, updated_at
      )
      values (
        ${paymentId}, ${orderId}, 'manual', ${amountMinor}, ${currency}, 'AT_ORDER', 'PENDING', 'CAPTURED', false,
        ${amountMinor}, ${reference}, ${cancelledUnits}::jsonb, ${paymentId}, ${now}, ${now}
      )
      returning id
    )
    insert into ledger_entry (
      id, order_id, payment_id, gateway, type, reference, amount_minor, currency, source, note, created_at
    )
    select ${entryId}, ${orderId}, id, 'manual', 'CAPTURED', id::text, ${amountMinor}::bigint, ${currency}, 'STAFF',
      ${reference}, ${now}
    from payment`,
);

/**
 * Records that an order was paid by hand, and its items as sales of its promotion. The payments of the order at a gateway
 * are cancelled.
 * @throws AppError not_found, aborted for a stale etag, failed_precondition when the state forbids it, a capture runs
 *   or another amount remains to be paid
 */
export async function markOrderPaid(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, amount, method, reference }: ManualPayment,
): Promise<Order> {
  const { clock, ids, tracker, payments } = options;
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "MARK_PAID");
  assertAmountDue(order, amount);
  const isAuthorized = order.paymentState === "AUTHORIZED";
  if (isAuthorized) await assertReplaceable(tx, order);
  const now = timeOfChange(clock, order);
  const paymentId = ids();
  await insertPayment(tx, { paymentId, entryId: ids(), order, amount, reference, now });
  const paid = { ...order.paid, minorUnits: order.paid.minorUnits + amount.minorUnits };
  const details = { amount: amount.minorUnits.toString(), method, reference, paymentId };
  const paymentState = isAuthorized ? "AUTHORIZED" : "PAID";
  const set = { paymentState, paid, ...(await recordSales(tracker, tx, call, order, now)) } as const;
  const [after = order] = await applyChanges(tx, call, [
    { order, transition: "MARK_PAID", set, details, now },
  ]);
  const [released = after] = await payments.releaseExcess(tx, call, [after]);
  // What is left of an authorization that was captured in part.
  await payments.requestCapture(tx, released, now);
  return released;
}

/**
 * Checks that an order can be paid by hand in place of its authorization.
 * @throws AppError failed_precondition while a capture runs, and when nothing is due
 */
async function assertReplaceable(tx: Tx, order: Order): Promise<void> {
  if (order.amountDue.minorUnits === 0n) throw nothingDue(order.id);
  const payments = await readLedgerPayments(tx, [order.id]);
  const running = payments.find(({ requests }) =>
    requests.some(({ kind, state }) => kind === "CAPTURE" && state === "OPEN"),
  );
  if (running !== undefined) throw captureRunning(running.id);
}

async function insertPayment(
  tx: Tx,
  {
    paymentId,
    entryId,
    order,
    amount: { minorUnits, currencyCode },
    reference,
    now,
  }: { paymentId: string; entryId: string; order: Order; amount: Money; reference: string; now: Date },
): Promise<void> {
  // An order of which nothing is due has none: it is settled.
  if (minorUnits === 0n) return;
  const storedUnits = storedCancelledUnits(order.items);
  const amountMinor = minorUnits.toString();
  await tx.query(
    INSERT(paymentId, entryId, order.id, amountMinor, currencyCode, reference, storedUnits, now),
  );
}
