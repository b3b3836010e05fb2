import { AppError } from "../../kernel/errors.ts";
import type { Money } from "../../kernel/money.ts";
import type { Order } from "../order-types.ts";
import type { Payment } from "./payment-row.ts";

/** @throws AppError failed_precondition, with what is due, for an amount that is not what remains to be paid */
export function assertAmountDue({ id, amountDue }: Order, { currencyCode, minorUnits }: Money): void {
  if (currencyCode === amountDue.currencyCode && minorUnits === amountDue.minorUnits) return;
  const description = `${amountDue.minorUnits} minor units of ${amountDue.currencyCode} remain to be paid, not ${minorUnits} of ${currencyCode}`;
  throw new AppError("failed_precondition", `The amount is not what is due: ${description}.`, {
    reason: "AMOUNT_NOT_DUE",
    metadata: { amount_due: amountDue.minorUnits.toString(), currency_code: amountDue.currencyCode },
    preconditions: [{ type: "AMOUNT", subject: `orders/${id}`, description }],
  });
}

/** Returns FAILED_PRECONDITION for a payment by hand of an authorized order that is paid otherwise. */
export function nothingDue(orderId: string): AppError {
  const description = "nothing remains to be paid, and the authorization is being cancelled";
  return new AppError("failed_precondition", `The order was not paid by hand: ${description}.`, {
    reason: "AMOUNT_NOT_DUE",
    preconditions: [{ type: "AMOUNT", subject: `orders/${orderId}`, description }],
  });
}

/** Returns FAILED_PRECONDITION while the outcome of a capture is open. */
export function captureRunning(paymentId: string): AppError {
  const description = "a capture of the payment has no response of the gateway yet. Wait until it has.";
  return new AppError("failed_precondition", `Nothing was changed: ${description}`, {
    reason: "CAPTURE_RUNNING",
    preconditions: [{ type: "CAPTURE", subject: `payments/${paymentId}`, description }],
  });
}

/** Returns FAILED_PRECONDITION for a change that the state of a payment does not allow. */
export function paymentStateError(
  { id, state }: Pick<Payment, "id" | "state">,
  description: string,
): AppError {
  return new AppError("failed_precondition", `Payment ${id} is ${state}: ${description}`, {
    reason: "PAYMENT_STATE",
    metadata: { payment_state: state },
    preconditions: [{ type: "STATE", subject: `payments/${id}`, description }],
  });
}

/** Returns FAILED_PRECONDITION for a shipment of an authorized order of which no money can be captured. */
export function nothingCapturable(orderId: string, description: string): AppError {
  return new AppError(
    "failed_precondition",
    `Nothing was shipped: no money of the order can be captured, since ${description}`,
    {
      reason: "NOTHING_CAPTURABLE",
      preconditions: [{ type: "CAPTURE", subject: `orders/${orderId}`, description }],
    },
  );
}

/** Returns FAILED_PRECONDITION for a payment while the order has another one that may still be made. */
export function paymentOpenError(orderId: string, { id, state }: Pick<Payment, "id" | "state">): AppError {
  const description = `payment ${id} is ${state}. Continue it, or cancel it first.`;
  return new AppError("failed_precondition", `The order has an open payment: ${description}`, {
    reason: "PAYMENT_OPEN",
    metadata: { payment_id: id },
    preconditions: [{ type: "PAYMENT", subject: `orders/${orderId}`, description }],
  });
}

/** Returns FAILED_PRECONDITION for a payment in a shop without a gateway. */
export function paymentsOffError(): AppError {
  const description = "this shop has no payment gateway. Orders are paid by hand.";
  return new AppError("failed_precondition", `Payments are off: ${description}`, {
    reason: "PAYMENTS_OFF",
    preconditions: [{ type: "GATEWAY", subject: "payments", description }],
  });
}
