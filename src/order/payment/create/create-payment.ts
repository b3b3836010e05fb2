import type { GatewayReport } from "../../../infra/payment/payment-gateway.ts";
import type { Call } from "../../../kernel/call.ts";
import { fingerprint } from "../../../kernel/canonical-json.ts";
import type { Money } from "../../../kernel/money.ts";
import type { OrderAccess } from "../../guest/order-access.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import type { ReadPayment } from "../list-payments.ts";
import { type Payment, type PaymentRow, paymentFromRow } from "../payment-row.ts";
import { callGateway, type GatewayOptions } from "./call-gateway.ts";
import {
  type CreatedPayment,
  type CreateWriter,
  type CreateWriterOptions,
  writePayment,
} from "./create-writer.ts";

/** A request to create a payment. */
export interface PaymentCreation {
  orderId: string;
  /** Must be what is due; undefined for all that is. */
  amount: Money | undefined;
  /** Token of the payment method; empty: the buyer's client confirms the payment. */
  methodToken: string;
  requestId: string;
  validateOnly: boolean;
}

/** Dependencies of creating payments. */
export interface CreationOptions extends CreateWriterOptions, GatewayOptions {
  orderAccess: OrderAccess;
  createWriter: CreateWriter;
  reports: ReportWriter;
}

/**
 * Creates a payment of what is due of an order: it is committed, and then created at the gateway by its id as idempotency
 * key. Without a response of the gateway it is PENDING, and the gateway is asked about it later. A repeat with the same
 * request_id returns the same payment.
 * @throws AppError not_found for an unknown order, or another customer's; failed_precondition when the state of the order
 *   forbids it, the amount is not what is due or cannot be charged, or the order has an open payment; invalid_argument for
 *   a request_id of another request; unavailable, deadline_exceeded or cancelled as `BatchWriter.write` does
 */
export async function createPayment(
  options: CreationOptions,
  call: Call,
  { orderId, amount, methodToken, requestId, validateOnly }: PaymentCreation,
): Promise<ReadPayment> {
  const { customerId, isStaff } = options.orderAccess(call, orderId);
  const item = {
    id: options.ids(),
    orderId,
    customerId,
    amount,
    methodToken,
    requestId,
    fingerprint: fingerprint({ orderId, amount, methodToken }),
  };
  const created = validateOnly
    ? await options.db.dryRun(call, (tx) => writePayment(options, tx, item))
    : await options.createWriter.write(call, item);
  if (validateOnly || !created.mustCallGateway)
    return { ...paymentFromRow(created.row), isForStaff: isStaff };
  return { ...(await createAtGateway(options, created, methodToken)), isForStaff: isStaff };
}

async function createAtGateway(
  options: CreationOptions,
  { row }: CreatedPayment,
  methodToken: string,
): Promise<Payment> {
  const amount = { currencyCode: row.currency, minorUnits: BigInt(row.amount_minor) };
  const request = { paymentId: row.id, orderId: row.order_id, amount, capture: row.capture, methodToken };
  const report = await callGateway(options, row, (gateway, limits) => gateway.createIntent(request, limits));
  return report === undefined ? paymentFromRow(row) : applyResponse(options, row, report);
}

/** Applies the response of the gateway to a call about a payment. @returns the payment after it */
export async function applyResponse(
  { reports, gateway }: Pick<CreationOptions, "reports" | "gateway">,
  row: PaymentRow,
  statement: GatewayReport,
): Promise<Payment> {
  const { payment = paymentFromRow(row) } = await reports.apply({
    gateway: gateway.name,
    source: "RESPONSE",
    statement,
    paymentId: row.id,
  });
  return payment;
}
