import { internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import { applyBatch, findUnread } from "./apply-batch.ts";
import type { OutboxConsumer } from "./consumer.ts";

/** Delay after the first failure and after many in a row, in milliseconds. */
const RETRY_MS = { first: 250, max: 30_000 };
/** Delay while unread rows are above the horizon; it doubles up to the polling interval. */
const FIRST_HORIZON_DELAY_MS = 20;

export interface ConsumerCounters {
  batches: number;
  events: number;
  /** Batches that were rolled back. */
  failures: number;
}

/** Applies the events of one consumer, batch by batch, until it is closed. */
export interface ConsumerLoop {
  /** Name of the consumer. */
  readonly name: string;
  readonly counters: Readonly<ConsumerCounters>;
  /** Runs a batch after the consumer's delay, or earlier if one is due. */
  wake(): void;
  /** Waits for the batch that runs, up to `graceMs` milliseconds; then it is rolled back. */
  close(graceMs: number): Promise<void>;
}

export interface ConsumerLoopOptions {
  db: Database;
  consumer: OutboxConsumer<unknown>;
  log: Log;
  /** Interval at which events of other processes are noticed, in milliseconds. */
  pollMs: number;
}

/** Starts the loop of a consumer with its first batch. */
export function startConsumerLoop({ db, consumer, log, pollMs }: ConsumerLoopOptions): ConsumerLoop {
  const counters: ConsumerCounters = { batches: 0, events: 0, failures: 0 };
  const warn = createThrottledWarning(log);
  const closing = new AbortController();
  const call = internalCall(closing.signal);
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let running: Promise<void> | undefined;
  let isClosed = false;
  let wasWoken = false;
  let hasMore = false;
  let failuresInARow = 0;
  let horizonDelayMs = FIRST_HORIZON_DELAY_MS;

  function schedule(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (isClosed || running !== undefined || atMs >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = atMs;
    timer = setTimeout(start, delayMs);
  }

  function start(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    wasWoken = false;
    running = run().then((delayMs) => {
      running = undefined;
      schedule(delayMs);
      if (wasWoken && failuresInARow === 0) schedule(consumer.delayMs);
    });
  }

  /** Runs a batch. @returns the delay of the next one */
  async function run(): Promise<number> {
    try {
      const delayMs = await runBatch();
      failuresInARow = 0;
      return delayMs;
    } catch (error) {
      if (isClosed) return pollMs;
      hasMore = false;
      counters.failures += 1;
      failuresInARow += 1;
      warn({ err: error, consumer: consumer.name, failuresInARow }, "Outbox consumer failed; retrying");
      return Math.min(RETRY_MS.first * 2 ** (failuresInARow - 1), RETRY_MS.max) * (0.5 + Math.random());
    }
  }

  async function runBatch(): Promise<number> {
    const delayMs = hasMore ? 0 : await findDelay();
    if (delayMs > 0) return delayMs;
    const result = await applyBatch(db, call, consumer);
    if (result.rows > 0) counters.batches += 1;
    counters.events += result.events;
    hasMore = result.hasMore;
    return hasMore ? 0 : pollMs;
  }

  /** Returns the delay until the consumer should read; 0 if it should now. Nothing is written for an idle consumer. */
  async function findDelay(): Promise<number> {
    const unread = await findUnread(db, call, consumer.name);
    if (unread?.isBelowHorizon === false) {
      horizonDelayMs = Math.min(2 * horizonDelayMs, pollMs);
      return horizonDelayMs;
    }
    horizonDelayMs = FIRST_HORIZON_DELAY_MS;
    // The batches of all processes keep the consumer's delay between them.
    if (unread === undefined) return pollMs;
    // Negative after the database's clock was set back: the delay begins at an unknown time, so it is over.
    return unread.sinceBatchMs < 0 ? 0 : Math.max(0, consumer.delayMs - unread.sinceBatchMs);
  }

  schedule(0);
  return {
    name: consumer.name,
    counters,
    wake() {
      wasWoken = true;
      // A failed consumer keeps its delay.
      if (failuresInARow === 0) schedule(consumer.delayMs);
    },
    async close(graceMs) {
      isClosed = true;
      clearTimeout(timer);
      const abort = setTimeout(() => closing.abort(), graceMs);
      await running;
      clearTimeout(abort);
    },
  };
}
