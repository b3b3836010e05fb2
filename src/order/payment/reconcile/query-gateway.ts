import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentGateway,
} from "../../../infra/payment/payment-gateway.ts";
import { HOUR_MS } from "../../../kernel/durations.ts";
import type { CheckedPayment } from "./check-rows.ts";

/** What the gateway states about a payment, and whether it has responded to a creation or to a query. */
export interface QueryResult {
  source: "RESPONSE" | "FETCH";
  statement: GatewayReport;
}

/** Time in which gateways recognize a repeated creation: Stripe keeps its idempotency keys for 24 hours. */
const REPEATABLE_MS = 23 * HOUR_MS;

/**
 * Queries the gateway about a payment. One that has no reference is created again, with the same idempotency key, as long as
 * its order waits for it: the gateway may not have received the first request. Otherwise a payment that the gateway does
 * not know is cancelled; if it is created after all, its money is late and is released.
 * @throws GatewayError UNKNOWN without a response; CONTRADICTION when the gateway does not know a payment that it has
 *   created
 */
export async function queryGateway(
  gateway: PaymentGateway,
  payment: CheckedPayment,
  call: GatewayCall,
  now: Date,
): Promise<QueryResult> {
  const { id: paymentId, reference } = payment;
  if (reference === null && isCreatable(payment, now)) {
    return { source: "RESPONSE", statement: await createAgain(gateway, payment, call) };
  }
  const statement = await gateway.fetch({ paymentId, reference: reference ?? "" }, call);
  if (statement !== undefined) return { source: "FETCH", statement };
  if (reference !== null) {
    throw new GatewayError("CONTRADICTION", `The gateway has no payment ${reference}, which it has created.`);
  }
  const unknown: GatewayReport = { paymentId, reference: "", facts: [] };
  return { source: "FETCH", statement: payment.is_open ? { ...unknown, step: "CANCELLED" } : unknown };
}

function isCreatable(payment: CheckedPayment, now: Date): boolean {
  const { is_open: isOpen, payment_state: state, closing, created_at: createdAt } = payment;
  const isAwaited = isOpen && closing === "NONE" && (state === "UNPAID" || state === "FAILED");
  return isAwaited && now.getTime() - Date.parse(createdAt) < REPEATABLE_MS;
}

async function createAgain(
  gateway: PaymentGateway,
  payment: CheckedPayment,
  call: GatewayCall,
): Promise<GatewayReport> {
  const { id: paymentId, order_id: orderId, capture, method_token: methodToken } = payment;
  const amount = { currencyCode: payment.currency, minorUnits: BigInt(payment.amount_minor) };
  try {
    const request = { paymentId, orderId, amount, capture, methodToken: methodToken ?? "" };
    return await gateway.createIntent(request, call);
  } catch (error) {
    if (!(error instanceof GatewayError && error.kind === "REJECTED")) throw error;
    const failure = { code: error.code || "rejected", message: error.message };
    return { paymentId, reference: "", step: "FAILED", failure, facts: [] };
  }
}
