import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { eventFromRow, type OrderEvent } from "../event-list.ts";
import type { OrderAccess, OrderScope } from "../guest/order-access.ts";
import type { Order } from "../order-types.ts";
import { isFinal } from "../state/order-state.ts";
import { type OrderSnapshot, readWatched } from "./read-watched.ts";
import type { Membership, WatchedOrders } from "./watched-orders.ts";

/** A request to watch an order. */
export interface OrderWatchRequest {
  id: string;
  /** Only events with a higher sequence. */
  afterSequence: number;
}

/** New events of a watched order. Watchers of an order share it. */
export interface OrderUpdate {
  /** Oldest first. */
  events: readonly OrderEvent[];
  /** The order, from the snapshot of the events. */
  order: Order;
}

/** Dependencies of watching orders. */
export interface WatchOptions {
  db: Pick<Database, "read">;
  orderAccess: OrderAccess;
  watchedOrders: WatchedOrders;
}

/**
 * Yields the events of an order after a sequence and the order, immediately and after each change, until the order is
 * CANCELLED, EXPIRED or COMPLETED or the call is aborted. A caller who takes an update late gets all events since then
 * with the next one. Access is checked again before each update.
 * @throws AppError not_found, also for another customer's order; invalid_argument for a sequence after the last event;
 *   aborted when the caller's access has changed; the reason of the abort
 */
export async function* watchOrder(
  { db, orderAccess, watchedOrders }: WatchOptions,
  call: Call,
  { id, afterSequence }: OrderWatchRequest,
): AsyncGenerator<OrderUpdate> {
  const scope = orderAccess(call, id);
  // Before the first read: changes after it are noticed.
  const membership = watchedOrders.join(id);
  try {
    const first = await readWatched(db, call, {
      id,
      after: afterSequence,
      owner: scope.customerId,
    });
    if (first === undefined) throw notFound("order", id);
    if (afterSequence > first.version) throw sequenceTooLarge(first.version);
    membership.recordVersion(first.version);
    let sequence = afterSequence;
    for (let snapshot = first; ; snapshot = await nextSnapshot(membership, call.signal, sequence)) {
      assertUnchanged(scope, orderAccess(call, id));
      const update = updateOf(snapshot, sequence, scope.isStaff);
      sequence = update.events.at(-1)?.sequence ?? sequence;
      yield update;
      if (isFinal(update.order.state) && !snapshot.hasMore) return;
    }
  } finally {
    membership.leave();
  }
}

/** Waits for a snapshot with events after a sequence. @throws the reason of the signal */
function nextSnapshot(membership: Membership, signal: AbortSignal, sequence: number): Promise<OrderSnapshot> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      stopWaiting();
      reject(signal.reason);
    };
    const settled = () => {
      stopWaiting();
      signal.removeEventListener("abort", abort);
    };
    const stopWaiting = membership.wait({
      sequence,
      accept(snapshot) {
        settled();
        resolve(snapshot);
      },
      reject(error) {
        settled();
        reject(error);
      },
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** The updates of a snapshot by the sequence that their watchers have. Almost always, it is the same for all. */
const updates = {
  forStaff: new WeakMap<OrderSnapshot, Map<number, OrderUpdate>>(),
  forCustomers: new WeakMap<OrderSnapshot, Map<number, OrderUpdate>>(),
};

function updateOf(snapshot: OrderSnapshot, sequence: number, isForStaff: boolean): OrderUpdate {
  const cache = isForStaff ? updates.forStaff : updates.forCustomers;
  const bySequence = cache.get(snapshot) ?? new Map<number, OrderUpdate>();
  cache.set(snapshot, bySequence);
  const existing = bySequence.get(sequence);
  if (existing !== undefined) return existing;
  const events = snapshot.events
    .filter((event) => event.sequence > sequence)
    .map((event) => eventFromRow(event, isForStaff));
  const update = { events, order: snapshot.order };
  bySequence.set(sequence, update);
  return update;
}

/** @throws AppError aborted when a caller's access has changed, such as by another role or an expired order token */
function assertUnchanged(former: OrderScope, current: OrderScope): void {
  if (current.customerId === former.customerId && current.isStaff === former.isStaff) return;
  throw new AppError(
    "aborted",
    "Your access to the order has changed during the watch. Watch it again after the last event that you have received.",
    { reason: "ACCESS_CHANGED" },
  );
}

function sequenceTooLarge(last: number): AppError {
  const description = `The order has no such event yet. Its last one has the sequence ${last}.`;
  return new AppError("invalid_argument", `after_sequence: ${description}`, {
    reason: "SEQUENCE_TOO_LARGE",
    metadata: { last_sequence: String(last) },
    fields: [{ field: "after_sequence", description }],
  });
}
