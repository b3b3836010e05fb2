import { startLoop } from "../../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import { applyBatch, findUnread } from "./apply-batch.ts";
import type { OutboxConsumer } from "./consumer.ts";

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
  let hasMore = false;
  let horizonDelayMs = FIRST_HORIZON_DELAY_MS;

  async function runBatch(call: Call): Promise<number> {
    const delayMs = hasMore ? 0 : await findDelay(call);
    if (delayMs > 0) return delayMs;
    const result = await applyBatch(db, call, consumer);
    if (result.rows > 0) counters.batches += 1;
    counters.events += result.events;
    hasMore = result.hasMore;
    return hasMore ? 0 : pollMs;
  }

  /** Returns the delay until the consumer should read; 0 if it should now. Nothing is written for an idle consumer. */
  async function findDelay(call: Call): Promise<number> {
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

  const loop = startLoop({
    run: (signal) => runBatch(internalCall(signal)),
    onFailure(error, failuresInARow) {
      hasMore = false;
      counters.failures += 1;
      warn({ err: error, consumer: consumer.name, failuresInARow }, "Outbox consumer failed; retrying");
    },
  });
  return {
    name: consumer.name,
    counters,
    wake: () => loop.wake(consumer.delayMs),
    close: loop.close,
  };
}
