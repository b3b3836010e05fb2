import { setTimeout as sleep } from "node:timers/promises";
import { createThrottledWarning } from "../../infra/jobs/throttled-warning.ts";
import type { OutboxTail } from "../../infra/outbox/tail/outbox-tail.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { type Backoff, backoffMs } from "../../kernel/async/backoff.ts";
import { internalCall } from "../../kernel/call.ts";
import { notFound } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { orderChanges } from "../change/order-changes.ts";
import { type OrderSnapshot, readAllWatched } from "./read-watched.ts";

/** Most orders that one statement reads. */
const BATCH_SIZE = 100;
const BACKOFF: Backoff = { firstMs: 100, maxMs: 2_000 };

/** A watcher that waits for its next update. */
export interface Waiting {
  /** Sequence of the last event that it was sent. */
  readonly sequence: number;
  /** Takes a snapshot with at least one event after the sequence, and none missing. */
  accept(snapshot: OrderSnapshot): void;
  reject(error: Error): void;
}

/** An order with watchers. Those that do not wait have not taken their last update yet. */
interface WatchedOrder {
  readonly id: string;
  watcherCount: number;
  /** Highest sequence of an event that is known to be committed. */
  version: number;
  readonly waiting: Set<Waiting>;
}

/** A watcher of an order, from before its first read to its end. */
export interface Membership {
  /** Records a version of the order that was read. */
  recordVersion(version: number): void;
  /** Registers the watcher as waiting. @returns a function that undoes it */
  wait(waiting: Waiting): () => void;
  leave(): void;
}

/** The orders that are watched in this process. Each change is read once for all watchers of its order. */
export interface WatchedOrders {
  /** Adds a watcher. Changes that are committed from now on will be noticed. */
  join(id: string): Membership;
}

export interface WatchedOrdersOptions {
  db: Pick<Database, "read">;
  tail: Pick<OutboxTail, "subscribe">;
  log: Log;
}

export function createWatchedOrders({ db, tail, log }: WatchedOrdersOptions): WatchedOrders {
  const call = internalCall();
  const warn = createThrottledWarning(log);
  const orders = new Map<string, WatchedOrder>();
  /** Orders that may have changed since they were read. They stay here while no watcher waits for them. */
  const changed = new Set<WatchedOrder>();
  let isReading = false;
  let unsubscribe: (() => void) | undefined;

  function markChanged(order: WatchedOrder): void {
    changed.add(order);
    if (!isReading && order.waiting.size > 0) void readChanged();
  }

  function recordVersion(order: WatchedOrder, version: number): void {
    if (version <= order.version) return;
    order.version = version;
    // Watchers that do not wait compare the version when they do.
    if (order.waiting.size > 0) markChanged(order);
  }

  async function readChanged(): Promise<void> {
    isReading = true;
    let failuresInARow = 0;
    // Changes that are announced together are read together, and so are those that are announced during a read.
    await Promise.resolve();
    for (let batch = takeBatch(); batch.length > 0; batch = takeBatch()) {
      try {
        const snapshots = await readAllWatched(db, call, batch);
        failuresInARow = 0;
        for (const read of batch) deliver(read, snapshots.get(read.id));
      } catch (error) {
        for (const { order } of batch) if (orders.get(order.id) === order) changed.add(order);
        failuresInARow += 1;
        warn({ err: error, failuresInARow }, "Watched orders could not be read; retrying");
        await sleep(backoffMs(failuresInARow, BACKOFF), undefined, { ref: false });
      }
    }
    isReading = false;
  }

  /** Takes changed orders for which watchers wait, with the lowest sequence that one of these has. */
  function takeBatch() {
    const batch: { id: string; order: WatchedOrder; after: number }[] = [];
    for (const order of changed) {
      if (order.waiting.size === 0) continue;
      changed.delete(order);
      const after = [...order.waiting].reduce(
        (least, { sequence }) => Math.min(least, sequence),
        Number.MAX_SAFE_INTEGER,
      );
      batch.push({ id: order.id, order, after });
      if (batch.length === BATCH_SIZE) break;
    }
    return batch;
  }

  /** Gives a snapshot to the watchers that wait and lack its events. The others wait, or cause another read. */
  function deliver(
    { order, after }: { order: WatchedOrder; after: number },
    snapshot: OrderSnapshot | undefined,
  ): void {
    const waiting = [...order.waiting];
    if (snapshot === undefined) {
      for (const watcher of waiting) watcher.reject(notFound("order", order.id));
      return;
    }
    // An event may have been announced during the read.
    order.version = Math.max(order.version, snapshot.version);
    const lastSequence = snapshot.events.at(-1)?.sequence ?? after;
    for (const watcher of waiting) {
      if (watcher.sequence < after) changed.add(order);
      else if (watcher.sequence < lastSequence) watcher.accept(snapshot);
      else if (snapshot.hasMore) changed.add(order);
    }
  }

  function subscribe(): () => void {
    return tail.subscribe(orderChanges, {
      receive(events) {
        for (const { orderId, sequence } of events.flat()) {
          const order = orders.get(orderId);
          if (order !== undefined) recordVersion(order, sequence);
        }
      },
      reread() {
        for (const order of orders.values()) {
          // The database may have lost its last transactions, and with them events that were announced.
          order.version = 0;
          markChanged(order);
        }
      },
    });
  }

  return {
    join(id) {
      const order = orders.get(id) ?? { id, watcherCount: 0, version: 0, waiting: new Set() };
      orders.set(id, order);
      order.watcherCount += 1;
      unsubscribe ??= subscribe();
      return {
        recordVersion: (version) => recordVersion(order, version),
        wait(waiting) {
          order.waiting.add(waiting);
          if (changed.has(order) || waiting.sequence < order.version) markChanged(order);
          return () => order.waiting.delete(waiting);
        },
        leave() {
          order.watcherCount -= 1;
          if (order.watcherCount > 0) return;
          orders.delete(id);
          changed.delete(order);
          if (orders.size > 0) return;
          unsubscribe?.();
          unsubscribe = undefined;
        },
      };
    },
  };
}
