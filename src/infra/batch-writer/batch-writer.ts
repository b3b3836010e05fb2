import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import { assertNotAborted } from "../postgres/connection/pool-client.ts";
import { createStatsLog } from "../stats-log.ts";
import { BatchCall } from "./batch-call.ts";
import { BatchQueue, type BatchSize } from "./batch-queue.ts";
import { type BatchCounters, findLockedKeys, type RunOptions, runBatch } from "./run-batch.ts";

export type { Outcome } from "./batch-call.ts";
export type { BatchDatabase, BatchWork } from "./run-batch.ts";

/** Upper bounds of a writer. */
export interface BatchLimits extends BatchSize {
  /**
   * Maximum number of batches in flight, each on a connection of its own. One more writes the calls that have waited for
   * rows which other sessions had locked.
   */
  readonly maxInFlight: number;
  /** Maximum number of calls that wait for a batch. */
  readonly waiting: number;
  /** Longest time that a call waits for a batch, in milliseconds. */
  readonly waitMs: number;
}

/** The state of a writer. */
export interface BatchStats extends Readonly<BatchCounters> {
  /** Batches in flight now. */
  readonly inFlight: number;
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
   * @throws AppError unavailable when too many calls wait, or the call waited too long for a batch; aborted when it
   *   waited too long for rows that other sessions have locked; cancelled or deadline_exceeded when the call was aborted
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

/** Time between two checks whether locked rows have become free, in milliseconds. */
const CHECK_MS = 50;

/** Creates a writer. */
export function createBatchWriter<Item, Locked, Result>(
  options: BatchWriterOptions<Item, Locked, Result>,
): BatchWriter<Item, Result> {
  const { limits, work } = options;
  const queue = new BatchQueue<BatchCall<Item, Result>>(limits);
  const counters: BatchCounters = {
    batches: 0,
    items: 0,
    largestBatch: 0,
    aborted: 0,
    lockTimeouts: 0,
    repeats: 0,
    bisections: 0,
  };
  const logStats = createStatsLog(options.log, "Batches written");
  const runOptions = { ...options, counters };
  let inFlight = 0;
  let isDelayedInFlight = false;
  let rejected = 0;
  let isDispatchScheduled = false;
  let waitTimer: NodeJS.Timeout | undefined;
  let checkTimer: NodeJS.Timeout | undefined;

  const stats = () => ({
    ...counters,
    inFlight: inFlight + (isDelayedInFlight ? 1 : 0),
    waiting: queue.length,
    rejected,
  });

  /** Runs at the end of the turn, so that calls that arrived in one packet share a transaction. */
  function scheduleDispatch(): void {
    if (isDispatchScheduled || inFlight >= limits.maxInFlight) return;
    isDispatchScheduled = true;
    setImmediate(() => {
      isDispatchScheduled = false;
      dispatch();
    });
  }

  function dispatch(): void {
    if (!isDelayedInFlight && queue.delayed > 0) {
      const batch = queue.take(true);
      isDelayedInFlight = batch.length > 0;
      if (isDelayedInFlight) {
        void run(batch, () => {
          isDelayedInFlight = false;
        });
      }
    }
    while (inFlight < limits.maxInFlight) {
      const batch = queue.take(false);
      if (batch.length === 0) return;
      inFlight += 1;
      void run(batch, () => {
        inFlight -= 1;
      });
    }
  }

  async function run(batch: readonly BatchCall<Item, Result>[], onEnd: () => void): Promise<void> {
    const delayed = await runBatch(runOptions, batch);
    onEnd();
    queue.release(batch);
    for (const { calls, lockedKeys } of delayed) delay(calls, lockedKeys);
    dispatch();
    logStats(counters.batches, stats);
  }

  /** Lets calls wait until their rows are free. */
  function delay(calls: readonly BatchCall<Item, Result>[], lockedKeys: ReadonlySet<string>): void {
    const waiting = calls.filter(({ isSettled }) => !isSettled);
    if (waiting.length === 0) return;
    for (const call of waiting) {
      call.setSent(false);
      setAbortedInQueue(call);
    }
    queue.returnDelayed(waiting, lockedKeys);
    clearTimeout(waitTimer);
    rejectOverdue();
    scheduleCheck();
  }

  function scheduleCheck(): void {
    if (checkTimer === undefined && queue.hasLockedKeys) {
      checkTimer = setTimeout(() => void checkLocked(), CHECK_MS).unref();
    }
  }

  /** Detects which of the locked rows have become free. */
  async function checkLocked(): Promise<void> {
    const calls = queue.findLocked();
    const lockedKeys = calls.length === 0 ? new Set<string>() : await findLockedKeys(runOptions, calls);
    checkTimer = undefined;
    queue.updateLocked(calls, lockedKeys);
    dispatch();
    scheduleCheck();
  }

  function setAbortedInQueue(call: BatchCall<Item, Result>): void {
    call.onAborted = () => {
      counters.aborted += 1;
      queue.remove(call);
    };
  }

  /** Rejects the calls that have waited too long, and sets the timer for the oldest of the others. */
  function rejectOverdue(): void {
    waitTimer = undefined;
    for (const call of queue.entries()) {
      const remainingMs = call.arrivedAtMs + limits.waitMs - performance.now();
      if (remainingMs > 0) {
        waitTimer = setTimeout(rejectOverdue, Math.ceil(remainingMs)).unref();
        return;
      }
      const error = queue.isDelayed(call) ? rowsLocked(limits.waitMs) : waitedTooLong(limits.waitMs);
      queue.remove(call);
      rejected += 1;
      call.fail(error);
    }
  }

  return {
    async write(call, item) {
      assertNotAborted(call);
      if (queue.length >= limits.waiting) {
        rejected += 1;
        throw tooManyWaiting(limits.waiting);
      }
      const waiting = new BatchCall<Item, Result>(call, item, work.keysOf(item));
      setAbortedInQueue(waiting);
      queue.add(waiting);
      if (waitTimer === undefined) waitTimer = setTimeout(rejectOverdue, limits.waitMs).unref();
      scheduleDispatch();
      return waiting.response;
    },
    stats,
  };
}

const RETRY_ADVICE = "Retry the call with the same request_id.";

function tooManyWaiting(maximum: number): AppError {
  return new AppError(
    "unavailable",
    `The service is overloaded: ${maximum} calls wait for a transaction. ${RETRY_ADVICE}`,
    { reason: "DATABASE_BUSY", retryAfterMs: 1_000 },
  );
}

function waitedTooLong(waitMs: number): AppError {
  return new AppError("unavailable", `The call waited ${waitMs} ms for a transaction. ${RETRY_ADVICE}`, {
    reason: "DATABASE_BUSY",
    retryAfterMs: 1_000,
  });
}

/** Returns ABORTED for a call whose rows stayed locked. */
function rowsLocked(waitMs: number): AppError {
  return new AppError(
    "aborted",
    `The call waited ${waitMs} ms for rows that other transactions have locked. Nothing was changed. ${RETRY_ADVICE}`,
    { reason: "CONTENTION", retryAfterMs: 1_000 },
  );
}
