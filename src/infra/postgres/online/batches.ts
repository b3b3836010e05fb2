import { withRetries } from "../../../kernel/async/with-retries.ts";
import { isContention } from "../postgres-errors.ts";
import { type OnlineSession, transact } from "./online-session.ts";
import { LOCK_TIMEOUT_MS } from "./table-locks.ts";

/** Rows of one transaction, which callers that change the same rows wait for. */
export const BATCH_ROWS = 1_000;

const PROGRESS_INTERVAL_MS = 5_000;
const ATTEMPTS = 100;
const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;

/** The rows that a transaction has migrated. */
export interface Batch<Key> {
  rows: number;
  /** Key of the last row. */
  last: Key;
}

/** Work in transactions of {@link BATCH_ROWS} rows in the order of their key. */
export interface BatchedStep<Key> {
  /** Name of the step in the log. */
  name: string;
  /** Query that counts the rows to migrate. */
  countRows: string;
  /** A key before that of all rows. */
  first: Key;
  /** Migrates the rows after a key; undefined when there are none. */
  migrate(after: Key): Promise<Batch<Key> | undefined>;
}

/** Migrates rows in batches and logs the progress. */
export async function runInBatches<Key>(session: OnlineSession, step: BatchedStep<Key>): Promise<void> {
  const { client, log } = session;
  const { rows } = await client.query<{ total: number }>(
    `select total::float8 as total from (${step.countRows}) as counted (total)`,
  );
  const total = rows[0]?.total ?? 0;
  if (total === 0) return;
  const startMs = performance.now();
  let nextLineAtMs = startMs + PROGRESS_INTERVAL_MS;
  let done = 0;
  let last = step.first;
  log.info({ step: step.name, total }, "Migration step started");
  for (;;) {
    const batch = await runBatch(session, step.name, () => step.migrate(last));
    if (batch === undefined) break;
    done += batch.rows;
    last = batch.last;
    if (performance.now() < nextLineAtMs) continue;
    nextLineAtMs = performance.now() + PROGRESS_INTERVAL_MS;
    log.info({ step: step.name, done, total }, "Migration in progress");
  }
  const durationMs = Math.round(performance.now() - startMs);
  log.info({ step: step.name, done, durationMs }, "Migration step completed");
}

/**
 * Runs work in a transaction. If it waits for the lock of a row too long, or is part of a deadlock, it is rolled back and
 * repeated.
 */
export function runBatch<T>(session: OnlineSession, step: string, work: () => Promise<T>): Promise<T> {
  // A lost batch is done again after a crash, so that its commit does not wait for the disk.
  const settings = { lock_timeout: LOCK_TIMEOUT_MS, synchronous_commit: "off" };
  return withRetries(() => transact(session, settings, work), {
    attempts: ATTEMPTS,
    firstDelayMs: FIRST_DELAY_MS,
    maxDelayMs: MAX_DELAY_MS,
    isRetryable: isContention,
    onRetry: (error, retry) => session.log.debug({ err: error, step, ...retry }, "Batch repeated"),
  });
}
