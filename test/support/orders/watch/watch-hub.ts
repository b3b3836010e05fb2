import { onTestFinished } from "vitest";
import { entities } from "../../../../src/entities.ts";
import type { OutboxTail, TailSubscriber } from "../../../../src/infra/outbox/tail/outbox-tail.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { type Principal, system } from "../../../../src/kernel/principal.ts";
import type { OrderAccess } from "../../../../src/order/guest/order-access.ts";
import type { OrderUpdate } from "../../../../src/order/order.ts";
import { watchOrder } from "../../../../src/order/watch/watch-order.ts";
import { createWatchedOrders } from "../../../../src/order/watch/watched-orders.ts";
import { silentLog } from "../../log.ts";
import { type ControlledReads, controlReads } from "../../outbox/controlled-reads.ts";
import { type OrderChanger, openOrderChanger } from "./order-changer.ts";

/** A watch whose updates are taken one by one. */
export interface SteppedWatch {
  next(): Promise<IteratorResult<OrderUpdate, void>>;
  cancel(): void;
  readonly signal: AbortSignal;
}

/** The caller of a watch, which may change during it. */
export interface WatchCaller {
  principal: Principal;
  orderToken: string;
}

/** The watched orders of one process, with a tail that the test controls. */
export interface WatchHub {
  reads: ControlledReads;
  changer: OrderChanger;
  /** Subscriptions of the tail. */
  subscriptionCount(): number;
  watch(id: string, afterSequence?: number, caller?: WatchCaller): SteppedWatch;
  /** Announces changes, as the tail does. */
  announce(...changes: { orderId: string; sequence: number }[]): void;
  /** Reports that the tail has missed events. */
  reread(): void;
}

const staffAccess: OrderAccess = () => ({ customerId: null, isStaff: true, requestOwner: "" });

/** Opens a hub on a database until the test is finished. */
export async function openWatchHub(url: string, orderAccess = staffAccess): Promise<WatchHub> {
  const limits = { poolMax: 8, poolWaitMs: 60_000, statementTimeoutMs: 60_000 };
  const postgres = await openPostgres({ url, entities, log: silentLog, ...limits });
  onTestFinished(() => postgres.close());
  const changer = await openOrderChanger(url);
  onTestFinished(() => changer.close());
  const reads = controlReads(postgres);
  const subscribers = new Set<TailSubscriber<unknown>>();
  const tail: Pick<OutboxTail, "subscribe"> = {
    subscribe(_, subscriber) {
      subscribers.add(subscriber);
      return () => subscribers.delete(subscriber);
    },
  };
  const watchedOrders = createWatchedOrders({ db: reads, tail, log: silentLog });
  return {
    reads,
    changer,
    subscriptionCount: () => subscribers.size,
    watch(id, afterSequence = 0, caller = { principal: system, orderToken: "" }) {
      const cancelling = new AbortController();
      const { signal } = cancelling;
      const options = { db: reads, orderAccess, watchedOrders };
      const call = {
        ...internalCall(signal),
        orderToken: caller.orderToken,
        get principal() {
          return caller.principal;
        },
      };
      const updates = watchOrder(options, call, { id, afterSequence });
      return { next: () => updates.next(), cancel: () => cancelling.abort(), signal };
    },
    announce(...changes) {
      for (const subscriber of subscribers) subscriber.receive([changes]);
    },
    reread() {
      for (const subscriber of subscribers) subscriber.reread();
    },
  };
}

/** Returns the sequences of an update's events; empty at the end. */
export function sequencesOf({ value }: IteratorResult<OrderUpdate, void>): number[] {
  return value?.events.map(({ sequence }) => sequence) ?? [];
}
