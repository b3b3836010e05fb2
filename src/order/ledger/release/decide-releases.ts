import { payableAmount } from "../../complete-order.ts";
import type { Order } from "../../order-types.ts";
import { capturableOf, hasRequest } from "../capturable.ts";
import { type LedgerPayment, moneyOf } from "../ledger-rows.ts";
import { refundableAmount } from "../refundable.ts";

/** Money that an order must not keep: its payment is cancelled or refunded. */
export interface Release {
  order: Order;
  payment: LedgerPayment;
  /** Whether the authorization, or the attempt, is cancelled. */
  isCancelled: boolean;
  /** What is refunded, in minor units; 0 for nothing. */
  refund: bigint;
  cause: string;
}

/** The cause of refunds when an order is closed, or no longer needs the money. */
export const CLOSED = "CLOSED";

/** Returns the cause of a refund of money that has arrived for an order that must not keep it. */
export function lateMoney(reference: string): string {
  return `LATE ${reference}`;
}

/** Returns the cause of a refund of money that a conflict about its amount has kept from being refunded. */
export function resolvedConflict(discrepancyId: string): string {
  return `RESOLVED ${discrepancyId}`;
}

/**
 * Decides which money an order must not keep: all of a cancelled or expired order, and otherwise that of the payments after
 * those that cover what the order costs; captured ones cover it first. Payments by hand stay: staff refund them by hand. A
 * payment is refunded once for each cause, and not while a fact has two amounts.
 * @param payments all payments of the order
 * @param cause undefined: only authorizations and attempts are cancelled
 */
export function decideReleases(
  order: Order,
  payments: readonly LedgerPayment[],
  cause: string | undefined,
): Release[] {
  return excessPayments(order, payments)
    .map((payment): Release => {
      const isRefunded =
        cause !== undefined && !payment.hasConflict && payment.refunds.every((one) => one.cause !== cause);
      return {
        order,
        payment,
        isCancelled: isCancellable(payment),
        refund: isRefunded ? refundableAmount(payment) : 0n,
        cause: cause ?? "",
      };
    })
    .filter(({ isCancelled, refund }) => isCancelled || refund > 0n);
}

function excessPayments(order: Order, payments: readonly LedgerPayment[]): LedgerPayment[] {
  const byGateway = payments.filter(({ gateway }) => gateway !== "manual");
  if (order.closing === "CANCELLED" || order.closing === "EXPIRED") return byGateway;
  const cost = payableAmount(order);
  const byHand = payments.filter(({ gateway }) => gateway === "manual");
  const paidByHand = byHand.reduce((sum, payment) => sum + moneyOf(payment).captured, 0n);
  return byGateway.filter((payment) => {
    const earlier = byGateway.filter((other) => coversBefore(other, payment));
    return earlier.reduce((sum, other) => sum + coverOf(other), paidByHand) >= cost;
  });
}

/** Returns what of the costs of its order a payment covers. An authorization that is being cancelled covers nothing. */
function coverOf(payment: LedgerPayment): bigint {
  return moneyOf(payment).captured + capturableOf(payment);
}

function coversBefore(other: LedgerPayment, payment: LedgerPayment): boolean {
  const difference = coverOf(payment) === 0n ? 0 : coverRank(other) - coverRank(payment);
  return difference < 0 || (difference === 0 && other.id < payment.id);
}

/**
 * Returns the rank of a payment among those that cover what an order costs. Money that is captured, or being captured, comes
 * first, since it could only be refunded; but not that of a payment which was to be cancelled.
 */
function coverRank(payment: LedgerPayment): number {
  const isCaptureRequested = payment.requests.some(({ kind }) => kind === "CAPTURE");
  const isCancelRequested = payment.requests.some(({ kind }) => kind === "CANCEL");
  const isCaptured = moneyOf(payment).captured > 0n;
  if (hasRequest(payment, "CAPTURE") || (isCaptured && (isCaptureRequested || !isCancelRequested))) return 0;
  return isCaptured ? 1 : 2;
}

/** Returns whether a payment can still take money, and its cancellation was not requested yet. */
function isCancellable(payment: LedgerPayment): boolean {
  const { state, reference, requests } = payment;
  const isRequested = requests.some((request) => request.kind === "CANCEL" && request.state === "OPEN");
  if (isRequested || state === "CANCELLED") return false;
  if (moneyOf(payment).open > 0n) return true;
  // The buyer can confirm a failed payment again, if the gateway has created it.
  return state === "PENDING" || state === "ACTION_REQUIRED" || (state === "FAILED" && reference !== null);
}
