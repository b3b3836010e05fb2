import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import { assertNotAborted } from "../postgres/connection/pool-client.ts";
import { createStatsLog } from "../stats-log.ts";
import { BatchQueue, type BatchSize } from "./batch-queue.ts";
import { Member } from "./member.ts";
import { type BatchCounters, type RunOptions, runBatch } from "./run-batch.ts";

export type { Outcome } from "./member.ts";
export type { BatchDatabase, BatchWork } from "./run-batch.ts";

/** Upper bounds of a writer. */
export interface BatchLimits extends BatchSize {
  /** Maximum number of batches in flight, each on a connection of its own. */
  readonly flights: number;
  /** Maximum number of calls that wait for a batch. */
  readonly waiting: number;
  /** Longest time that a call waits for a batch, in milliseconds. */
  readonly waitMs: number;
}

/** The state of a writer. */
export interface BatchStats extends Readonly<BatchCounters> {
  /** Batches in flight now. */
  readonly flights: number;
  /** Calls that wait for a batch now. */
  readonly waiting: number;
  /** Calls that were rejected because too many waited, or because they waited too long. */
  readonly rejected: number;
}

/** Writes the items of concurrent calls in shared transactions. */
export interface BatchWriter<Item, Result> {
  /**
   * Writes an item and returns its result after the commit. Calls that arrive while a transaction runs share the next
   * one; a call that arrives while the writer is idle starts immediately.
   * @throws AppError unavailable when too many calls wait; cancelled or deadline_exceeded when the call was aborted
   *   before its writes were sent: nothing is written; deadline_exceeded with reason OUTCOME_UNKNOWN when its deadline
   *   passed afterwards
   */
  write(call: Call, item: Item): Promise<Result>;
  stats(): BatchStats;
}

/** Dependencies and limits of a writer. */
export interface BatchWriterOptions<Item, Locked, Result>
  extends Omit<RunOptions<Item, Locked, Result>, "counters"> {
  limits: BatchLimits;
}

/** Creates a writer. */
export function createBatchWriter<Item, Locked, Result>(
  options: BatchWriterOptions<Item, Locked, Result>,
): BatchWriter<Item, Result> {
  const { limits, work } = options;
  const queue = new BatchQueue<Member<Item, Result>>(limits);
  const counters: BatchCounters = {
    batches: 0,
    items: 0,
    largestBatch: 0,
    left: 0,
    repeats: 0,
    bisections: 0,
  };
  const logStats = createStatsLog(options.log, "Batches written");
  let flights = 0;
  let rejected = 0;
  let isDispatchScheduled = false;
  let waitTimer: NodeJS.Timeout | undefined;

  const stats = () => ({ ...counters, flights, waiting: queue.length, rejected });

  /** Runs at the end of the turn, so that calls that arrived in one packet share a transaction. */
  function scheduleDispatch(): void {
    if (isDispatchScheduled || flights === limits.flights) return;
    isDispatchScheduled = true;
    setImmediate(() => {
      isDispatchScheduled = false;
      dispatch();
    });
  }

  function dispatch(): void {
    while (flights < limits.flights) {
      const batch = queue.take();
      if (batch.length === 0) return;
      flights += 1;
      void run(batch);
    }
  }

  async function run(batch: readonly Member<Item, Result>[]): Promise<void> {
    await runBatch({ ...options, counters }, batch);
    flights -= 1;
    queue.release(batch);
    dispatch();
    logStats(counters.batches, stats);
  }

  /** Rejects the calls that have waited too long, and sets the timer for the oldest of the others. */
  function rejectOverdue(): void {
    waitTimer = undefined;
    for (let { oldest } = queue; oldest !== undefined; { oldest } = queue) {
      const remainingMs = oldest.arrivedAtMs + limits.waitMs - performance.now();
      if (remainingMs > 0) {
        waitTimer = setTimeout(rejectOverdue, Math.ceil(remainingMs)).unref();
        return;
      }
      queue.remove(oldest);
      rejected += 1;
      oldest.settle({ error: writerBusy() });
    }
  }

  return {
    async write(call, item) {
      assertNotAborted(call);
      if (queue.length >= limits.waiting) {
        rejected += 1;
        throw writerBusy();
      }
      const member = new Member<Item, Result>(call, item, work.keysOf(item));
      member.onLeave = () => {
        counters.left += 1;
        queue.remove(member);
      };
      queue.add(member);
      if (waitTimer === undefined) waitTimer = setTimeout(rejectOverdue, limits.waitMs).unref();
      scheduleDispatch();
      return member.response;
    },
    stats,
  };
}

/** Returns UNAVAILABLE for a call that cannot wait for a batch. */
function writerBusy(): AppError {
  return new AppError(
    "unavailable",
    "The service is overloaded: too many calls wait to be written. Retry the call with the same request_id.",
    { reason: "DATABASE_BUSY", retryAfterMs: 1_000 },
  );
}
