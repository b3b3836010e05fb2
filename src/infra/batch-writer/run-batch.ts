import { setTimeout as sleep } from "node:timers/promises";
import { type Call, internalCall } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { type AuditOptions, recordAudit } from "../audit/audit.ts";
import type { TransactionLimits, Tx } from "../postgres/postgres.ts";
import { isConnectionLost, isLockTimeout } from "../postgres/postgres-errors.ts";
import type { BatchCall, Outcome } from "./batch-call.ts";

/** How the items of a batch are written. */
export interface BatchWork<Item, Locked, Result> {
  /** Returns the names of all rows that an item locks, its idempotency key included. */
  keysOf(item: Item): readonly string[];
  /** Locks the rows of all items in the lock order, and reads what the decisions need. */
  lock(tx: Tx, items: readonly Item[]): Promise<Locked>;
  /**
   * Decides on the items in their order and writes those that are accepted. It must find an item that an earlier
   * attempt has committed, since a batch whose COMMIT got no response is repeated.
   * @param items those of the locked items whose calls were not aborted
   * @returns the outcomes in the same order; an item with an error has changed nothing
   */
  write(tx: Tx, locked: Locked, items: readonly Item[]): Promise<Outcome<Result>[]>;
  /** Returns those keys of items whose rows another session has locked, without waiting for them. */
  findLocked(tx: Tx, items: readonly Item[]): Promise<ReadonlySet<string>>;
}

/** Limits of a transaction of a writer, and the items that it writes. */
export interface BatchTransaction<Item> extends TransactionLimits {
  readonly items: readonly Item[];
}

/** The database of a writer, such as a `Database`. */
export interface BatchDatabase<Item> {
  /** Runs `work` in a transaction like `Database.transact`. */
  transact<T>(call: Call, work: (tx: Tx) => Promise<T>, transaction: BatchTransaction<Item>): Promise<T>;
}

/** Dependencies and limits of running batches. */
export interface RunOptions<Item, Locked, Result> {
  db: BatchDatabase<Item>;
  work: BatchWork<Item, Locked, Result>;
  audit: AuditOptions;
  /** Upper bound of one statement of a batch, in milliseconds. */
  statementTimeoutMs: number;
  /** Longest time that a batch waits for one lock, in milliseconds. Other batches go on meanwhile. */
  lockTimeoutMs: number;
  log: Log;
  counters: BatchCounters;
}

/** Numbers of events since the start. */
export interface BatchCounters {
  /** Committed transactions. */
  batches: number;
  /** Items of committed transactions. */
  items: number;
  /** Maximum number of items of a committed transaction. */
  largestBatch: number;
  /** Calls that were aborted before their writes were sent. */
  aborted: number;
  /** Attempts that waited too long for a lock of another session. */
  lockTimeouts: number;
  /** Batches that were repeated because their COMMIT got no response. */
  repeats: number;
  /** Batches that were divided because an item failed in the database. */
  bisections: number;
}

/** Attempts in all of a batch whose COMMIT gets no response, or that waits for a lock which is free afterwards. */
const ATTEMPTS = 3;
const FIRST_DELAY_MS = 10;

/** Calls of a batch that could not be written because other sessions hold locks. */
export interface DelayedCalls<Item, Result> {
  calls: readonly BatchCall<Item, Result>[];
  /** The keys that were found to be locked. */
  lockedKeys: ReadonlySet<string>;
}

/**
 * Writes the items of calls in one transaction and settles the calls that were not aborted. A batch whose COMMIT got no
 * response is repeated; a batch that an item makes fail in the database is divided until that item is alone. A batch
 * that waits too long for a lock is repeated without the calls whose rows are locked.
 * @returns the calls without a response
 */
export async function runBatch<Item, Locked, Result>(
  options: RunOptions<Item, Locked, Result>,
  calls: readonly BatchCall<Item, Result>[],
): Promise<DelayedCalls<Item, Result>[]> {
  const { counters, log } = options;
  const delayed: DelayedCalls<Item, Result>[] = [];
  let waiting = calls;
  for (let attempt = 1; ; attempt += 1) {
    waiting = waiting.filter(({ isSettled }) => !isSettled);
    if (waiting.length === 0) return delayed;
    try {
      await writeInTransaction(options, waiting);
      return delayed;
    } catch (error) {
      if (isLockTimeout(causeOf(error))) {
        counters.lockTimeouts += 1;
        const lockedKeys = await findLockedKeys(options, waiting);
        const isLocked = ({ keys }: BatchCall<Item, Result>) => keys.some((key) => lockedKeys.has(key));
        const isLastAttempt = attempt >= ATTEMPTS && !waiting.some(isLocked);
        delayed.push({ calls: waiting.filter((call) => isLastAttempt || isLocked(call)), lockedKeys });
        log.debug({ err: error, attempt, keys: [...lockedKeys] }, "Batch waited too long for a lock");
        if (isLastAttempt) return delayed;
        waiting = waiting.filter((call) => !isLocked(call));
        continue;
      }
      const wasLost = isConnectionLost(causeOf(error));
      if (wasLost) for (const call of waiting) call.setMayBeCommitted();
      if (wasLost && attempt < ATTEMPTS) {
        counters.repeats += 1;
        log.debug({ err: error, attempt }, "Batch repeated");
        await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
        continue;
      }
      if (waiting.length > 1 && isCausedByItem(error)) {
        counters.bisections += 1;
        log.debug({ err: error, items: waiting.length }, "Batch divided");
        const middle = Math.ceil(waiting.length / 2);
        delayed.push(...(await runBatch(options, waiting.slice(0, middle))));
        delayed.push(...(await runBatch(options, waiting.slice(middle))));
        return delayed;
      }
      for (const call of waiting) call.fail(error);
      return delayed;
    }
  }
}

/** Returns those keys of calls that other sessions have locked; none when they cannot be read. */
export async function findLockedKeys<Item, Locked, Result>(
  { db, work, statementTimeoutMs, lockTimeoutMs, log }: RunOptions<Item, Locked, Result>,
  calls: readonly BatchCall<Item, Result>[],
): Promise<ReadonlySet<string>> {
  try {
    return await db.transact(internalCall(), (tx) => work.findLocked(tx, itemsOf(calls)), {
      items: [],
      statementTimeoutMs,
      lockTimeoutMs,
    });
  } catch (error) {
    log.debug({ err: error }, "Locked rows not read");
    return new Set();
  }
}

/** Writes the items of the calls that were not aborted, commits, and settles them. */
async function writeInTransaction<Item, Locked, Result>(
  { db, work, audit, statementTimeoutMs, lockTimeoutMs, counters }: RunOptions<Item, Locked, Result>,
  calls: readonly BatchCall<Item, Result>[],
): Promise<void> {
  // The connection is closed early only when all calls were aborted and nothing is sent yet.
  const abandoned = new AbortController();
  for (const call of calls) {
    call.onAborted = () => {
      counters.aborted += 1;
      if (calls.every(({ isSettled }) => isSettled)) abandoned.abort();
    };
  }
  const writeAll = async (tx: Tx) => {
    for (const call of calls) call.setSent(false);
    const present = calls.filter(({ isSettled }) => !isSettled);
    const locked = await work.lock(tx, itemsOf(present));
    const written = present.filter(({ isSettled }) => !isSettled);
    for (const call of written) call.setSent(true);
    const outcomes = await work.write(tx, locked, itemsOf(written));
    if (outcomes.length !== written.length) throw new Error("an item of the batch has no outcome");
    const succeeded = written.filter((_, index) => isResult(outcomes[index]));
    await recordAudit(
      tx,
      succeeded.map(({ call }) => call),
      audit,
    );
    return { written, outcomes };
  };
  const { written, outcomes } = await db.transact(internalCall(abandoned.signal), writeAll, {
    items: itemsOf(calls),
    statementTimeoutMs,
    lockTimeoutMs,
  });
  counters.batches += 1;
  counters.items += written.length;
  counters.largestBatch = Math.max(counters.largestBatch, written.length);
  for (const [index, outcome] of outcomes.entries()) written[index]?.settle(outcome);
}

function itemsOf<Item, Result>(calls: readonly BatchCall<Item, Result>[]): Item[] {
  return calls.map(({ item }) => item);
}

function isResult(outcome: Outcome<unknown> | undefined): boolean {
  return outcome !== undefined && "result" in outcome;
}

/** Returns the error of the driver. */
function causeOf(error: unknown): unknown {
  return error instanceof AppError ? error.cause : error;
}

/** The errors of a transaction that its items do not cause: no connection, contention, the statement timeout, an abort. */
const TRANSACTION_ERRORS: ReadonlySet<string> = new Set([
  "unavailable",
  "aborted",
  "deadline_exceeded",
  "cancelled",
]);

/** Returns whether other items than the one that caused an error may succeed without it. */
function isCausedByItem(error: unknown): boolean {
  return !(error instanceof AppError && TRANSACTION_ERRORS.has(error.code));
}
