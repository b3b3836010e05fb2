import type { GatewayName } from "../../../infra/payment/payment-gateway.ts";
import type { Database } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import { AppError } from "../../../kernel/errors.ts";
import type { Ids } from "../../../kernel/ids.ts";
import type { Log } from "../../../kernel/log.ts";
import type { OrderCancellation } from "../../change/cancel-order.ts";
import { type DiscrepancyKind, insertDiscrepancies } from "../../ledger/discrepancies.ts";
import type { ReportWriter } from "../../ledger/report-writer.ts";
import type { Order } from "../../order-types.ts";
import type { CheckedPayment } from "./check-rows.ts";

/** Dependencies of giving payments up. */
export interface GiveUpOptions {
  db: Database;
  ids: Ids;
  clock: Clock;
  log: Log;
  reports: Pick<ReportWriter, "apply">;
  /** Returns an order. */
  getOrder(call: Call, id: string): Promise<Order>;
  /** Cancels an order: releases its units and its money. */
  cancelOrder(call: Call, cancellation: OrderCancellation, requestId: string): Promise<Order>;
}

/** Stored in the order and in the payment. */
const REASON = "The outcome of the payment stayed unknown.";

/**
 * Gives up a payment whose outcome stays unknown: reports a discrepancy, cancels the order unless it is paid otherwise,
 * which releases its units and cancels the payment, and records the payment as failed. Money that arrives afterwards is
 * released. The payment is recorded last: a process that dies before repeats the rest, which then changes nothing.
 * @throws AppError when a step could not be made
 */
export async function giveUp(options: GiveUpOptions, call: Call, payment: CheckedPayment): Promise<void> {
  const { id: paymentId, order_id: orderId, gateway, checks, reference } = payment;
  options.log.error({ paymentId, orderId, gateway, checks }, "Outcome of a payment stayed unknown");
  const description = `The gateway has not stated the outcome of payment ${paymentId} in ${checks} attempts.`;
  await insertDiscrepancy(options, call, payment, "REQUEST_FAILED", description);
  await cancelUnpaid(options, call, orderId);
  const failure = { code: "outcome_unknown", message: REASON };
  const statement = { paymentId, reference: reference ?? "", step: "FAILED", failure, facts: [] } as const;
  await options.reports.apply({ gateway, source: "RESPONSE", statement, paymentId });
}

/** Stores a discrepancy of a payment, unless it is known and not resolved. */
export async function insertDiscrepancy(
  { db, ids, clock }: Pick<GiveUpOptions, "db" | "ids" | "clock">,
  call: Call,
  {
    id: paymentId,
    order_id: orderId,
    gateway,
    amount_minor: minor,
    currency,
  }: CheckedPayment & {
    gateway: GatewayName;
  },
  kind: DiscrepancyKind,
  description: string,
): Promise<void> {
  const expected = { currencyCode: currency, minorUnits: BigInt(minor) };
  const subject = { orderId, paymentId, gateway, reference: paymentId, expected, actual: undefined };
  const discrepancy = { id: ids(), kind, ...subject, description, createTime: clock.now() };
  await db.transact(call, (tx) => insertDiscrepancies(tx, [discrepancy]));
}

/** Cancels an order that is not paid. The etag keeps one that is paid meanwhile. */
async function cancelUnpaid(
  { getOrder, cancelOrder }: GiveUpOptions,
  call: Call,
  orderId: string,
): Promise<void> {
  const { id, etag, paymentState, closing } = await getOrder(call, orderId);
  if (closing !== "NONE" || (paymentState !== "UNPAID" && paymentState !== "FAILED")) return;
  try {
    await cancelOrder(call, { id, etag, reason: REASON }, "");
  } catch (error) {
    // It was shipped before it was paid.
    if (!(error instanceof AppError && error.details.reason === "ORDER_STATE")) throw error;
  }
}
