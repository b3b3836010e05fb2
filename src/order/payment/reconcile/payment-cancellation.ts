import { sql } from "kysely";
import type { GatewayReport, PaymentGateway } from "../../../infra/payment/payment-gateway.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import type { Call } from "../../../kernel/call.ts";
import type { PaymentCancellation, PaymentOutcome } from "../../expiry/payment-cancellation.ts";
import type { PaymentState } from "../../ledger/payment-money.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import type { PaymentRow } from "../payment-row.ts";

/** Dependencies of cancelling the payments of orders that expire. */
export interface CancellationOptions {
  db: Pick<Database, "read">;
  gateway: PaymentGateway;
  /** Time limit of one call of the gateway, in milliseconds. */
  timeoutMs: number;
  reports: Pick<ReportWriter, "apply">;
}

type Row = Pick<PaymentRow, "id" | "reference" | "state">;

const HAS_MONEY: ReadonlySet<PaymentState> = new Set(["AUTHORIZED", "CAPTURED"]);

// A failed payment that the gateway has created can be confirmed again. Payments of a gateway that is not configured any
// more cannot be cancelled, and their webhooks are not received.
const FIND = prepare<[orderId: string, gateway: string], Row>(
  (orderId, gateway) => sql`
    select id, reference, state from payment where order_id = ${orderId} and gateway = ${gateway}
      and (state in ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURED') or state = 'FAILED' and reference is not null)
    order by id`,
);

/**
 * Creates the cancellation of the payments that expiring orders wait for. The order is EXPIRING, so that no other payment
 * can begin. A payment that the gateway does not know is cancelled without it; if it is created after all, its money is
 * late and is released.
 */
export function createPaymentCancellation(options: CancellationOptions): PaymentCancellation {
  return async (call, orderId) => {
    let outcome: PaymentOutcome = "cancelled";
    for (const payment of await options.db.read(call, FIND(orderId, options.gateway.name))) {
      if ((await cancelPayment(options, call, payment)) === "paid") outcome = "paid";
    }
    return outcome;
  };
}

/**
 * @returns paid if there is money, or an authorization of it
 * @throws GatewayError or AppError when the outcome is unknown
 */
async function cancelPayment(options: CancellationOptions, call: Call, row: Row): Promise<PaymentOutcome> {
  if (HAS_MONEY.has(row.state)) return "paid";
  const statement = await cancelAtGateway(options, call, row);
  const { payment } = await options.reports.apply({
    gateway: options.gateway.name,
    source: "RESPONSE",
    statement,
    paymentId: row.id,
  });
  const state = payment?.state ?? row.state;
  if (HAS_MONEY.has(state)) return "paid";
  if (state === "CANCELLED") return "cancelled";
  throw new Error(`Payment ${row.id} is ${state} after its cancellation.`);
}

async function cancelAtGateway(
  { gateway, timeoutMs }: CancellationOptions,
  call: Call,
  { id: paymentId, reference }: Row,
): Promise<GatewayReport> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(timeoutMs)]);
  const limits = { signal, timeoutMs };
  const found = reference ?? (await gateway.fetch({ paymentId, reference: "" }, limits))?.reference;
  if (found === undefined) return { paymentId, reference: "", step: "CANCELLED", facts: [] };
  // The id of the payment: a repeat of the expiry is the same request.
  return gateway.cancel({ paymentId, reference: found, cancelId: paymentId }, limits);
}
