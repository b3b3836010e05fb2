import { sql } from "kysely";
import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentGateway,
  SINGLE_CAPTURE,
} from "../../../infra/payment/payment-gateway.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import { prepare } from "../../../infra/postgres/statement.ts";
import { internalCall } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { lockPayment } from "../locked-payments.ts";
import type { PaymentRequest } from "./request-rows.ts";

/** Dependencies of captures. */
export interface SendCaptureOptions {
  db: Pick<Database, "transact">;
  clock: Clock;
  gateway: PaymentGateway;
}

type Capture = Pick<
  PaymentRequest,
  "id" | "payment_id" | "order_id" | "amount_minor" | "is_final" | "currency"
>;

const CAPTURE_ALL = prepare<[id: string, minorUnits: bigint, now: Date], object>(
  (id, minorUnits, now) => sql`
    update payment_request set amount_minor = ${minorUnits}, is_final = true, updated_at = ${now}
    where id = ${id} and state in ('OPEN', 'DEAD')`,
);

/**
 * Sends a capture. If the payment can be captured only once, the request becomes one of all that is due: the rest of the
 * authorization would end with a capture of a part.
 * @throws GatewayError
 */
export async function sendCapture(
  options: SendCaptureOptions,
  request: Capture,
  reference: string,
  limits: GatewayCall,
): Promise<GatewayReport> {
  const { id: captureId, payment_id: paymentId, currency: currencyCode } = request;
  const send = (minorUnits: bigint, isFinal: boolean) => {
    const amount = { currencyCode, minorUnits };
    return options.gateway.capture({ paymentId, reference, captureId, amount, isFinal }, limits);
  };
  try {
    return await send(BigInt(request.amount_minor ?? 0), request.is_final);
  } catch (error) {
    if (!(error instanceof GatewayError && error.code === SINGLE_CAPTURE)) throw error;
    const all = await requestAll(options, request);
    if (all === 0n) throw error;
    return send(all, true);
  }
}

/** Changes a request to one of all that is due. @returns the amount, 0 if nothing is due any more */
async function requestAll(
  { db, clock }: SendCaptureOptions,
  { id, payment_id: paymentId, order_id: orderId }: Capture,
): Promise<bigint> {
  return db.transact(internalCall(), async (tx) => {
    const { order, payment } = await lockPayment(tx, { id: paymentId, order_id: orderId });
    const left = payment.authorized.minorUnits - payment.captured.minorUnits;
    const due = order.amountDue.minorUnits;
    const all = due < left ? due : left;
    if (all > 0n) await tx.query(CAPTURE_ALL(id, all, clock.now()));
    return all;
  });
}
