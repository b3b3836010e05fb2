import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { arraysOf, type ListColumn, prepareList, unnest } from "../../infra/postgres/statement.ts";
import { type Payment, type PaymentRow, paymentFromRow } from "../payment/payment-row.ts";
import { type KnownRefund, type KnownRequest, type LedgerPayment, moneyOf } from "./ledger-rows.ts";
import { type PaymentState, paymentStateOf } from "./payment-money.ts";
import type { Settled } from "./settle-requests.ts";

/** The states in which another payment of the order can be created. */
const CLOSED: ReadonlySet<PaymentState> = new Set(["FAILED", "CANCELLED", "CAPTURED"]);
/** The states in which an earlier failure no longer matters. */
const SUCCEEDED: ReadonlySet<PaymentState> = new Set(["AUTHORIZED", "CAPTURED"]);

/** Returns a payment with what follows from its entries, its step and its refunds. */
export function completePayment(payment: LedgerPayment): LedgerPayment {
  const state = paymentStateOf(moneyOf(payment), payment.step);
  return {
    ...payment,
    state,
    isOpen: payment.isOpen && !CLOSED.has(state),
    requestedRefund: payment.refunds
      .filter((refund) => refund.state !== "FAILED")
      .reduce((sum, { minorUnits }) => sum + minorUnits, 0n),
    ...(SUCCEEDED.has(state) && { failureCode: null, failureMessage: null }),
  };
}

/** A payment to write, with its amounts. */
interface UpdatedPayment extends LedgerPayment {
  money: ReturnType<typeof moneyOf>;
  now: Date;
}

const COLUMNS: readonly ListColumn<UpdatedPayment>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "reference", type: "text", value: ({ reference }) => reference },
  { name: "step", type: "text", value: ({ step }) => step },
  { name: "state", type: "text", value: ({ state }) => state },
  { name: "is_open", type: "boolean", value: ({ isOpen }) => isOpen },
  { name: "authorized", type: "bigint", value: ({ money }) => money.authorized.toString() },
  { name: "captured", type: "bigint", value: ({ money }) => money.captured.toString() },
  { name: "refunded", type: "bigint", value: ({ money }) => money.refunded.toString() },
  { name: "disputed", type: "bigint", value: ({ money }) => money.disputed.toString() },
  { name: "lost", type: "bigint", value: ({ money }) => money.lost.toString() },
  { name: "requested", type: "bigint", value: ({ requestedRefund }) => requestedRefund.toString() },
  { name: "client_secret", type: "text", value: ({ client_secret: secret }) => secret },
  { name: "has_token", type: "boolean", value: ({ hasMethodToken }) => hasMethodToken },
  { name: "failure_code", type: "text", value: ({ failureCode }) => failureCode },
  { name: "failure_message", type: "text", value: ({ failureMessage }) => failureMessage },
  { name: "capture_before", type: "timestamptz", value: ({ captureBefore }) => captureBefore ?? null },
  { name: "check_reason", type: "text", value: ({ check }) => check?.reason ?? null },
  { name: "check_at", type: "timestamptz", value: ({ check }) => check?.at ?? null },
  { name: "checks", type: "int", value: ({ check }) => check?.checks ?? 0 },
  { name: "now", type: "timestamptz", value: ({ now }) => now },
];

const UPDATE = prepareList<PaymentRow>(
  COLUMNS.length,
  (arrays) => sql`
    update payment set reference = change.reference, step = change.step, state = change.state, is_open = change.is_open,
      authorized_minor = authorized, captured_minor = captured, refunded_minor = refunded, disputed_minor = disputed,
      lost_minor = lost, requested_refund_minor = requested, client_secret = change.client_secret,
      method_token = case when has_token then method_token end,
      failure_code = change.failure_code, failure_message = change.failure_message,
      capture_before = change.capture_before, check_reason = change.check_reason, check_at = change.check_at,
      checks = change.checks, updated_at = now
    from ${unnest(COLUMNS, arrays, "change")} where payment.id = change.id
    returning payment.*, exists (
      select from payment_request where payment_id = payment.id and payment_request.state = 'DEAD'
    ) as has_dead_request`,
);

/**
 * Writes payments of locked orders, with the sums of their entries.
 * @returns the payments after the update
 */
export async function updatePayments(
  tx: Tx,
  payments: readonly LedgerPayment[],
  now: Date,
): Promise<Payment[]> {
  if (payments.length === 0) return [];
  const updated = payments.map((payment) => ({ ...payment, money: moneyOf(payment), now }));
  return (await tx.query(UPDATE(arraysOf(COLUMNS, updated)))).map(paymentFromRow);
}

const SETTLED_COLUMNS: readonly ListColumn<Settled<{ id: string; state: string }>>[] = [
  { name: "id", type: "uuid", value: ({ id }) => id },
  { name: "state", type: "text", value: ({ state }) => state },
  { name: "note", type: "text", value: ({ note }) => note },
];
const SETTLE_REFUNDS = prepareList<object>(
  1 + SETTLED_COLUMNS.length,
  ([now, ...arrays]) => sql`
    update refund set state = change.state, failure = nullif(change.note, ''), completed_at = ${now}
    from ${unnest(SETTLED_COLUMNS, arrays, "change")} where refund.id = change.id`,
);
const SETTLE_REQUESTS = prepareList<object>(
  1 + SETTLED_COLUMNS.length,
  ([now, ...arrays]) => sql`
    update payment_request set state = change.state, last_error = coalesce(nullif(change.note, ''), last_error),
      updated_at = ${now}
    from ${unnest(SETTLED_COLUMNS, arrays, "change")} where payment_request.id = change.id`,
);

/** Writes the states of refunds and requests that are settled. */
export async function updateSettled(
  tx: Tx,
  refunds: readonly Settled<KnownRefund>[],
  requests: readonly Settled<KnownRequest>[],
  now: Date,
): Promise<void> {
  const statements = [
    ...(refunds.length > 0 ? [SETTLE_REFUNDS([now, ...arraysOf(SETTLED_COLUMNS, refunds)])] : []),
    ...(requests.length > 0 ? [SETTLE_REQUESTS([now, ...arraysOf(SETTLED_COLUMNS, requests)])] : []),
  ];
  await Promise.all(statements.map((statement) => tx.query(statement)));
}
