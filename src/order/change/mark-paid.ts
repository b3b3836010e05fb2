import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, assertEtag } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import type { Order } from "../order-types.ts";
import { assertTransition } from "../state/transitions.ts";
import { applyChanges, timeOfChange } from "./apply-changes.ts";
import type { ChangeOptions } from "./change-options.ts";
import type { PaymentMethod } from "./event-details.ts";
import { lockOrder } from "./lock-orders.ts";
import { recordSales } from "./promotion-purchases.ts";

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

/**
 * Records that an order was paid by hand, and its items as sales of its promotion.
 * @throws AppError not_found, aborted for a stale etag, failed_precondition when the state forbids it or another amount
 *   remains to be paid
 */
export async function markOrderPaid(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, etag, amount, method, reference }: ManualPayment,
): Promise<Order> {
  const order = await lockOrder(options, tx, call, id);
  assertEtag("order", order, etag);
  assertTransition(order, "MARK_PAID");
  assertAmountDue(order, amount);
  const now = timeOfChange(options.clock, order);
  const paid = { ...order.paid, minorUnits: order.paid.minorUnits + amount.minorUnits };
  const details = { amount: amount.minorUnits.toString(), method, reference };
  const set = {
    paymentState: "PAID",
    paid,
    ...(await recordSales(options.tracker, tx, call, order, now)),
  } as const;
  const [after = order] = await applyChanges(tx, call, [
    { order, transition: "MARK_PAID", set, details, now },
  ]);
  return after;
}

function assertAmountDue({ id, amountDue }: Order, { currencyCode, minorUnits }: Money): void {
  if (currencyCode === amountDue.currencyCode && minorUnits === amountDue.minorUnits) return;
  const description = `${amountDue.minorUnits} minor units of ${amountDue.currencyCode} remain to be paid, not ${minorUnits} of ${currencyCode}`;
  throw new AppError("failed_precondition", `The amount is not what is due: ${description}.`, {
    reason: "AMOUNT_NOT_DUE",
    metadata: { amount_due: amountDue.minorUnits.toString(), currency_code: amountDue.currencyCode },
    preconditions: [{ type: "AMOUNT", subject: `orders/${id}`, description }],
  });
}
