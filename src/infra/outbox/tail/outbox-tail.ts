import type { Log } from "../../../kernel/log.ts";
import type { Database } from "../../postgres/postgres.ts";
import type { Topic } from "../topic.ts";
import type { WakeUp } from "../wake-up.ts";
import type { TailEvent, TailLimits } from "./read-tail.ts";
import { startTailLoop, type TailLoop } from "./tail-loop.ts";

const DEFAULT_POLL_MS = 100;
const DEFAULT_LIMITS: TailLimits = { rows: 1_000, bytes: 2 ** 20 };

/** A subscriber of one topic. Its functions must not throw. */
export interface TailSubscriber<Data> {
  /**
   * Called with events of one batch, at least one. All were committed, some maybe before the subscription. Their order is
   * neither that of commits nor, between batches, that of transaction ids. So an event that replaces the state of a
   * resource carries its version, and older ones are ignored.
   */
  receive(events: readonly Data[]): void;
  /**
   * Called when events may be missing: after the tail has started, and when rows were removed from the outbox before it
   * has read them. All events that are committed from now on will be received, so the subscriber reads again what it
   * derives from events.
   */
  reread(): void;
}

/**
 * Follows the outbox in this process, from now on and without a cursor in the database: for what each replica needs, such
 * as its open streams. It reads only while there are subscribers. Effects that must happen once, also after a restart,
 * need an `OutboxConsumer`.
 *
 * Events are received as soon as they are committed, also while other transactions stay open.
 *
 * A subscriber misses nothing if it subscribes first and reads the state then, and again when `reread` is called.
 */
export interface OutboxTail {
  /** Subscribes to a topic. @returns a function that ends the subscription */
  subscribe<Data>(topic: Topic<Data>, subscriber: TailSubscriber<Data>): () => void;
  /** Ends all subscriptions and waits for the statement that runs. */
  close(): Promise<void>;
}

export interface OutboxTailOptions {
  db: Pick<Database, "read">;
  wakeUp: Pick<WakeUp, "subscribe">;
  log: Log;
  /** Interval at which events of other processes are noticed, in milliseconds. Defaults to 100. */
  pollMs?: number;
  /** Bounds of one batch. Defaults to 1,000 rows and 1 MiB. */
  limits?: TailLimits;
}

/** Creates a tail, which reads the outbox once it has a subscriber. */
export function createOutboxTail(options: OutboxTailOptions): OutboxTail {
  const { db, wakeUp, log, pollMs = DEFAULT_POLL_MS, limits = DEFAULT_LIMITS } = options;
  const subscribers = new Map<string, Set<TailSubscriber<unknown>>>();
  let loop: TailLoop | undefined;
  let isClosed = false;

  const removeListener = wakeUp.subscribe((topics) => {
    if (loop !== undefined && !topics.isDisjointFrom(subscribers)) loop.wake();
  });

  function deliver(events: readonly TailEvent[], read: ReadonlySet<string>): void {
    const byTopic = Map.groupBy(events, ({ topic }) => topic);
    for (const [topic, set] of subscribers) {
      const data = (byTopic.get(topic) ?? []).map((event) => event.data);
      for (const subscriber of set) {
        // The batch did not look for a topic that was subscribed to meanwhile.
        if (!read.has(topic)) subscriber.reread();
        else if (data.length > 0) subscriber.receive(data);
      }
    }
  }

  function reread(): void {
    for (const set of subscribers.values()) for (const subscriber of set) subscriber.reread();
  }

  function start(): TailLoop {
    const topics = () => [...subscribers.keys()];
    return startTailLoop({ db, log, pollMs, limits, topics, onEvents: deliver, onGap: reread });
  }

  return {
    subscribe<Data>({ name }: Topic<Data>, subscriber: TailSubscriber<Data>) {
      if (isClosed) return () => {};
      const set = subscribers.get(name) ?? new Set<TailSubscriber<unknown>>();
      // A copy, since one object may subscribe twice.
      const own: TailSubscriber<unknown> = {
        receive: (events: readonly Data[]) => subscriber.receive(events),
        reread: () => subscriber.reread(),
      };
      subscribers.set(name, set.add(own));
      loop ??= start();
      return () => {
        set.delete(own);
        if (set.size === 0 && subscribers.get(name) === set) subscribers.delete(name);
        if (subscribers.size > 0) return;
        loop?.stop();
        loop = undefined;
      };
    },
    async close() {
      isClosed = true;
      removeListener();
      subscribers.clear();
      await loop?.close();
    },
  };
}
