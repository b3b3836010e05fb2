import { AppError, invalidField, notFound } from "../../kernel/errors.ts";
import { assertPresent } from "../../kernel/fields.ts";
import { type LedgerPayment, moneyOf } from "../ledger/ledger-rows.ts";
import { refundableAmount } from "../ledger/refundable.ts";
import { nothingToRefund } from "./allocate-refund.ts";

/** Which payment of an order is refunded. */
export interface PaymentChoice {
  /** Id of the order. */
  id: string;
  /** Empty for the payment with the most left. */
  paymentId: string;
  /** Reference of a refund by hand; empty for others. */
  reference: string;
}

/** Maximum number of refunds of a payment. */
const MAX_REFUNDS = 200;

/**
 * Returns the captured payment of an order that a request refunds.
 * @param payments all payments of the order
 * @throws AppError not_found for an unknown payment; invalid_argument when the reference is missing or contradictory;
 *   failed_precondition when the payment cannot be refunded
 */
export function choosePayment(
  payments: readonly LedgerPayment[],
  { id, paymentId, reference }: PaymentChoice,
): LedgerPayment {
  const [first, ...others] = payments.filter(
    (payment) => moneyOf(payment).captured > 0n && (paymentId === "" || payment.id === paymentId),
  );
  if (first === undefined) {
    throw paymentId === ""
      ? nothingToRefund(id, "no payment of the order is captured")
      : notFound("payment", paymentId);
  }
  const payment = others.reduce(
    (most, one) => (refundableAmount(one) > refundableAmount(most) ? one : most),
    first,
  );
  assertRefundable(payment, reference);
  return payment;
}

/** @throws AppError unless a payment can be refunded with this reference */
function assertRefundable(payment: LedgerPayment, reference: string): void {
  const { id, gateway, hasConflict, refunds } = payment;
  if (gateway === "manual") assertPresent({ reference });
  else if (reference !== "") {
    throw invalidField(
      "reference",
      "is for payments by hand. Leave it empty: the gateway makes this refund.",
    );
  }
  if (hasConflict) {
    const description = "its gateway has stated two amounts; resolve the discrepancy of the payment first";
    throw failedPrecondition(id, "DISCREPANCY_UNRESOLVED", description);
  }
  // Its parts are known only when all of it is captured: until then, units could be refunded that were never paid.
  if (moneyOf(payment).open > 0n) {
    const description = "a part of it is not captured yet; ship or cancel the other units first";
    throw failedPrecondition(id, "CAPTURE_UNFINISHED", description);
  }
  if (refunds.length >= MAX_REFUNDS) {
    throw failedPrecondition(id, "REFUND_LIMIT_REACHED", `it has ${MAX_REFUNDS} refunds already`);
  }
}

function failedPrecondition(paymentId: string, reason: string, description: string): AppError {
  return new AppError("failed_precondition", `Payment ${paymentId} cannot be refunded: ${description}.`, {
    reason,
    preconditions: [{ type: "PAYMENT", subject: `payments/${paymentId}`, description }],
  });
}
