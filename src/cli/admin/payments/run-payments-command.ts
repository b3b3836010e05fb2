import { type Call, internalCall } from "../../../kernel/call.ts";
import { requestOwner } from "../../../kernel/principal.ts";
import type { OrderAccess } from "../../../order/guest/order-access.ts";
import {
  type Discrepancy,
  listDiscrepancies,
  resolveDiscrepancy,
} from "../../../order/ledger/discrepancies.ts";
import { listPayments, type ReadPayment } from "../../../order/payment/list-payments.ts";
import { requestCheck } from "../../../order/payment/reconcile/request-check.ts";
import type { AdminResult } from "../admin-result.ts";
import { formatMoney } from "./format-money.ts";
import type { PaymentsCommand } from "./payments-options.ts";
import { type RefundCommandOptions, refundPayment, withRequests } from "./refund-payment.ts";

/** Maximum number of lines that are printed. */
const MAX_LINES = 100;

/** Gives operators access to all orders. */
const orderAccess: OrderAccess = ({ principal }) => ({
  customerId: null,
  isStaff: true,
  requestOwner: requestOwner(principal),
});

/**
 * Runs a command about payments.
 * @param call is audited
 * @throws AppError whose message states the remedy
 */
export async function runPaymentsCommand(
  call: Call,
  options: RefundCommandOptions,
  command: PaymentsCommand,
): Promise<AdminResult> {
  const { db } = options;
  const page = { pageSize: MAX_LINES, pageToken: "" };
  switch (command.name) {
    case "payments list": {
      const { attention, order: orderId } = command;
      const request = { ...page, attention, orderId };
      const { items } = await listPayments({ ...options, orderAccess }, internalCall(), request);
      return table(
        "payments: id, order, gateway, id at the gateway, state, amount, captured, refunded, notes",
        items.map(paymentColumns),
      );
    }
    case "payments discrepancies": {
      const { order: orderId, showResolved } = command;
      const { items } = await listDiscrepancies(options, internalCall(), { ...page, orderId, showResolved });
      return table(
        "discrepancies: id, time, kind, order, payment, reference, expected, actual, description",
        items.map(discrepancyColumns),
      );
    }
    case "payments resolve": {
      const { kind } = await withRequests(options, (enqueueRequests) =>
        db.transact(call, (tx) => resolveDiscrepancy({ ...options, enqueueRequests }, tx, call, command)),
      );
      return { message: `Resolved discrepancy ${command.id} (${kind}).` };
    }
    case "payments refund":
      return refundPayment(call, options, command);
    case "payments check": {
      const { id } = command;
      await db.transact(call, (tx) => requestCheck(options, tx, id));
      return {
        message: `A running service or worker queries the gateway about payment ${id} within seconds.`,
      };
    }
  }
}

/** Returns a line for each item, with "-" for what is absent. */
function table(title: string, rows: readonly (readonly string[])[]): AdminResult {
  const [noun = ""] = title.split(":");
  if (rows.length === 0) return { message: `There are no such ${noun}.` };
  const lines = rows.map((columns) => columns.map((text) => text.replaceAll(/\s+/g, " ") || "-").join("  "));
  const count = rows.length < MAX_LINES ? String(rows.length) : `The last ${MAX_LINES}`;
  return { message: `${count} ${title}. Amounts are minor units.`, output: lines.join("\n") };
}

function paymentColumns(payment: ReadPayment): string[] {
  const { id, orderId, gateway, reference, manualReference, state, inDoubt, captureBefore, failure } =
    payment;
  const notes = [
    inDoubt ? "in doubt" : "",
    captureBefore === undefined ? "" : `capture before ${captureBefore.toISOString()}`,
    failure === undefined ? "" : `${failure.code}: ${failure.message}`,
  ];
  return [
    ...[id, orderId, gateway, reference || manualReference, state],
    ...[payment.amount, payment.captured, payment.refunded].map(formatMoney),
    notes.filter(Boolean).join(", "),
  ];
}

function discrepancyColumns(discrepancy: Discrepancy): string[] {
  const { id, createTime, kind, orderId, paymentId, reference, resolution } = discrepancy;
  const solved = resolution === "" ? "" : ` Resolved: ${resolution}`;
  return [
    ...[id, createTime.toISOString(), kind, orderId, paymentId, reference],
    ...[discrepancy.expected, discrepancy.actual].map(formatMoney),
    discrepancy.description + solved,
  ];
}
