import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Clock } from "../../../kernel/clock.ts";
import type { Ids } from "../../../kernel/ids.ts";
import { applyChanges, type OrderChange, timeOfChange } from "../../change/apply-changes.ts";
import type { Order } from "../../order-types.ts";
import { insertAutomaticRefunds } from "../../refund/automatic-refund.ts";
import { type EnqueueRequests, insertRequests, type NewRequest } from "../insert-requests.ts";
import type { LedgerPayment } from "../ledger-rows.ts";
import { completePayment } from "../update-payments.ts";
import type { Release } from "./decide-releases.ts";

/** Dependencies of releasing money. */
export interface ReleaseOptions {
  clock: Clock;
  ids: Ids;
  enqueueRequests: EnqueueRequests;
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
 * @param changed the orders that the transaction has changed since the decision, by id
 * @returns the orders that this changes
 */
export async function writeReleases(
  { clock, enqueueRequests }: ReleaseOptions,
  tx: Tx,
  call: Call,
  changed: ReadonlyMap<string, Order>,
  releases: readonly ReleasedPayment[],
): Promise<Order[]> {
  if (releases.length === 0) return [];
  const current = releases.map((release) => {
    const order = changed.get(release.order.id) ?? release.order;
    return { ...release, order, reason: reasonOf(order), now: timeOfChange(clock, order) };
  });
  const refunded = current.filter(({ refund }) => refund > 0n);
  await insertAutomaticRefunds(
    tx,
    refunded.map(({ refundId: id, refund: minorUnits, ...release }) => ({ ...release, id, minorUnits })),
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
      const { order, payment, refundId, reason, now } = first;
      const amount = others.reduce((sum, { refund }) => sum + refund, first.refund).toString();
      const details = { amount, paymentId: payment.id, refundId };
      const event = "REFUND_REQUESTED";
      return [{ order, transition: "RECORD_ENTRIES", event, set: {}, reason, details, now }];
    }),
  );
}

function reasonOf({ closing }: Order): string {
  if (closing === "CANCELLED") return "The order is cancelled.";
  return closing === "EXPIRED" ? "The order has expired." : "The order is already paid.";
}
