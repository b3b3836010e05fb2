import { setTimeout as sleep } from "node:timers/promises";
import { type Call, internalCall } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { type AuditOptions, recordAudit } from "../audit/audit.ts";
import type { Tx } from "../postgres/postgres.ts";
import { isConnectionLost } from "../postgres/postgres-errors.ts";
import type { Member, Outcome } from "./member.ts";

/** How the items of a batch are written. */
export interface BatchWork<Item, Locked, Result> {
  /** Returns the names of all rows that an item locks, its idempotency key included. */
  keysOf(item: Item): readonly string[];
  /** Locks the rows of all items in the lock order, and reads what the decisions need. */
  lock(tx: Tx, items: readonly Item[]): Promise<Locked>;
  /**
   * Decides on the items in their order and writes those that are accepted. It must find an item that an earlier
   * attempt has committed, since a batch whose COMMIT got no response is repeated.
   * @param items those of the locked items whose callers have not left
   * @returns the outcomes in the same order; an item with an error has changed nothing
   */
  write(tx: Tx, locked: Locked, items: readonly Item[]): Promise<Outcome<Result>[]>;
}

/** The database of a writer, such as a `Database`. */
export interface BatchDatabase<Item> {
  /**
   * Runs `work` in a transaction like `Database.transact`.
   * @param items those that the transaction writes
   */
  transact<T>(call: Call, work: (tx: Tx) => Promise<T>, items: readonly Item[]): Promise<T>;
}

/** Dependencies and limits of running batches. */
export interface RunOptions<Item, Locked, Result> {
  db: BatchDatabase<Item>;
  work: BatchWork<Item, Locked, Result>;
  audit: AuditOptions;
  /** Upper bound of one statement of a batch, in milliseconds. */
  statementTimeoutMs: number;
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
  /** Calls that left before their writes were sent. */
  left: number;
  /** Batches that were repeated because their COMMIT got no response. */
  repeats: number;
  /** Batches that were divided because an item failed in the database. */
  bisections: number;
}

/** Attempts in all of a batch whose COMMIT gets no response. */
const ATTEMPTS = 3;
const FIRST_DELAY_MS = 10;

/**
 * Writes the items of calls in one transaction and settles the calls that have not left. A batch whose COMMIT got no
 * response is repeated; a batch that an item makes fail in the database is divided until that item is alone.
 * @param isInDoubt whether an earlier transaction with these items may have been committed
 */
export async function runBatch<Item, Locked, Result>(
  options: RunOptions<Item, Locked, Result>,
  members: readonly Member<Item, Result>[],
  isInDoubt = false,
): Promise<void> {
  const { counters, log } = options;
  let mayBeCommitted = isInDoubt;
  for (let attempt = 1; ; attempt += 1) {
    const waiting = members.filter((member) => !member.isSettled);
    if (waiting.length === 0) return;
    try {
      await writeInTransaction(options, waiting, mayBeCommitted);
      return;
    } catch (error) {
      const wasLost = wasConnectionLost(error);
      mayBeCommitted ||= wasLost;
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
        await runBatch(options, waiting.slice(0, middle), mayBeCommitted);
        await runBatch(options, waiting.slice(middle), mayBeCommitted);
        return;
      }
      for (const member of waiting) member.settle({ error });
      return;
    }
  }
}

/** Writes the items of the calls that have not left, commits, and settles them. */
async function writeInTransaction<Item, Locked, Result>(
  { db, work, audit, statementTimeoutMs, counters }: RunOptions<Item, Locked, Result>,
  members: readonly Member<Item, Result>[],
  mayBeCommitted: boolean,
): Promise<void> {
  // The connection is closed early only when all callers have left and nothing is sent yet.
  const abandoned = new AbortController();
  for (const member of members) {
    member.onLeave = () => {
      counters.left += 1;
      if (members.every(({ isSettled }) => isSettled)) abandoned.abort();
    };
  }
  const deadlineAtMs = performance.now() + statementTimeoutMs;
  const batch: Call = { ...internalCall(abandoned.signal), deadlineAtMs };
  const writeBatch = async (tx: Tx) => {
    for (const member of members) member.setSent(mayBeCommitted);
    const present = members.filter((member) => !member.isSettled);
    const locked = await work.lock(tx, itemsOf(present));
    const written = present.filter((member) => !member.isSettled);
    for (const member of written) member.setSent(true);
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
  const { written, outcomes } = await db.transact(batch, writeBatch, itemsOf(members));
  counters.batches += 1;
  counters.items += written.length;
  counters.largestBatch = Math.max(counters.largestBatch, written.length);
  for (const [index, outcome] of outcomes.entries()) written[index]?.settle(outcome);
}

function itemsOf<Item, Result>(members: readonly Member<Item, Result>[]): Item[] {
  return members.map(({ item }) => item);
}

function isResult(outcome: Outcome<unknown> | undefined): boolean {
  return outcome !== undefined && "result" in outcome;
}

/** Returns whether a transaction lost its connection, also during its COMMIT, so that its outcome is unknown. */
function wasConnectionLost(error: unknown): boolean {
  return isConnectionLost(error instanceof AppError ? error.cause : error);
}

/** Returns whether other items than the one that caused an error may succeed without it. */
function isCausedByItem(error: unknown): boolean {
  const code = error instanceof AppError ? error.code : "internal";
  return code !== "unavailable" && code !== "aborted" && code !== "cancelled";
}
