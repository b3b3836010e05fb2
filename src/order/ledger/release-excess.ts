import type { Tx } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import { applyChanges, type OrderChange, timeOfChange } from "../change/apply-changes.ts";
import { payableAmount } from "../complete-order.ts";
import type { Order } from "../order-types.ts";
import { insertAutomaticRefunds } from "../refund/automatic-refund.ts";
import { capturableOf, hasRequest } from "./capturable.ts";
import { type EnqueueRequests, insertRequests, type NewRequest } from "./insert-requests.ts";
import { type LedgerPayment, moneyOf, readLedgerPayments } from "./ledger-rows.ts";
import { refundableAmount } from "./refundable.ts";
import { completePayment, updatePayments } from "./update-payments.ts";

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

/** Dependencies of releasing money. */
export interface ReleaseOptions {
  clock: Clock;
  ids: Ids;
  enqueueRequests: EnqueueRequests;
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
 * those that cover what the order costs; captured ones cover it first. Payments by hand stay: staff refund them by hand. A payment is refunded once for
 * each cause, and not while a fact has two amounts.
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

/** A payment after its release, with the ids of what was requested. */
export interface ReleasedPayment extends Release {
  /** The payment with the refund and the requests. */
  released: LedgerPayment;
  refundId: string;
  cancelId: string;
}

/** Returns the payment of a release with the refund and the requests. */
export function afterRelease(release: Release, ids: Ids): ReleasedPayment {
  const { payment, refund, cause, isCancelled } = release;
  const refundId = ids();
  const cancelId = ids();
  const isRefunded = refund > 0n;
  const refunds = [{ id: refundId, state: "PENDING", minorUnits: refund, cause }] as const;
  const refundRequests = [{ id: refundId, kind: "REFUND", state: "OPEN" }] as const;
  const cancelRequests = [{ id: cancelId, kind: "CANCEL", state: "OPEN" }] as const;
  const released = completePayment({
    ...payment,
    refunds: [...payment.refunds, ...(isRefunded ? refunds : [])],
    requests: [
      ...payment.requests,
      ...(isRefunded ? refundRequests : []),
      ...(isCancelled ? cancelRequests : []),
    ],
  });
  return { ...release, released, refundId, cancelId };
}

/**
 * Stores the refunds and requests of releases, enqueues the jobs, and records the refunds in the histories of the orders.
 * The caller writes the payments.
 * @param orders the orders as they are stored now, by id
 * @returns the orders that were changed
 */
export async function writeReleases(
  { clock, enqueueRequests }: ReleaseOptions,
  tx: Tx,
  call: Call,
  orders: ReadonlyMap<string, Order>,
  releases: readonly ReleasedPayment[],
): Promise<Order[]> {
  if (releases.length === 0) return [];
  const current = releases.map((release) => {
    const order = orders.get(release.order.id) ?? release.order;
    return { ...release, order, now: timeOfChange(clock, order) };
  });
  const refunded = current.filter(({ refund }) => refund > 0n);
  await insertAutomaticRefunds(
    tx,
    refunded.map(({ refundId: id, refund: minorUnits, order, ...release }) => ({
      ...release,
      id,
      order,
      minorUnits,
      reason: reasonOf(order),
    })),
  );
  await insertRequests(
    tx,
    enqueueRequests,
    current.flatMap((release): NewRequest[] => {
      const { payment, refund, now } = release;
      const request = { paymentId: payment.id, orderId: payment.orderId, isFinal: true, now };
      const refunds = { ...request, id: release.refundId, kind: "REFUND", minorUnits: refund } as const;
      const cancels = { ...request, id: release.cancelId, kind: "CANCEL", minorUnits: null } as const;
      return [...(refund > 0n ? [refunds] : []), ...(release.isCancelled ? [cancels] : [])];
    }),
  );
  if (refunded.length === 0) return [];
  const ofOrders = Map.groupBy(refunded, ({ order }) => order.id);
  return applyChanges(
    tx,
    call,
    [...ofOrders.values()].flatMap(([first, ...others]): OrderChange[] => {
      if (first === undefined) return [];
      const { order, payment, refundId, now } = first;
      const amount = others.reduce((sum, { refund }) => sum + refund, first.refund).toString();
      const details = { amount, paymentId: payment.id, refundId };
      const event = "REFUND_REQUESTED";
      const reason = reasonOf(order);
      return [{ order, transition: "RECORD_ENTRIES", event, set: {}, reason, details, now }];
    }),
  );
}

function reasonOf({ closing }: Order): string {
  if (closing === "CANCELLED") return "The order is cancelled.";
  return closing === "EXPIRED" ? "The order has expired." : "The order is already paid.";
}

/**
 * Cancels and refunds the money that orders must not keep after they were cancelled, have expired, have been paid by hand
 * or cost less, or after a conflict about the amount is resolved. The orders are locked, and their change is written.
 * @returns the orders after it
 */
export async function releaseExcess(
  options: ReleaseOptions,
  tx: Tx,
  call: Call,
  orders: readonly Order[],
  cause: string = CLOSED,
): Promise<Order[]> {
  const payments = Map.groupBy(
    await readLedgerPayments(
      tx,
      orders.map(({ id }) => id),
    ),
    ({ orderId }) => orderId,
  );
  const releases = orders
    .flatMap((order) => decideReleases(order, payments.get(order.id) ?? [], cause))
    .map((release) => afterRelease(release, options.ids));
  if (releases.length === 0) return [...orders];
  await updatePayments(
    tx,
    releases.map(({ released }) => released),
    options.clock.now(),
  );
  const byId = new Map(orders.map((order) => [order.id, order]));
  const changed = await writeReleases(options, tx, call, byId, releases);
  const after = new Map(changed.map((order) => [order.id, order]));
  return orders.map((order) => after.get(order.id) ?? order);
}
