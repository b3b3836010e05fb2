import { withRetries } from "../../../kernel/async/with-retries.ts";
import { StartupError } from "../../../kernel/errors.ts";
import { isContention } from "../postgres-errors.ts";
import { type OnlineSession, transact } from "./online-session.ts";

/** Tables to lock in a mode of PostgreSQL, in this order. */
export interface TableLocks {
  tables: readonly string[];
  mode: "share row exclusive" | "access exclusive";
  /**
   * A table that most transactions write before they use the others. It is locked first against writers: transactions
   * that use the others in another order wait there, and cannot be part of a deadlock.
   */
  lockedFirst?: string;
}

/**
 * Time limit of a lock request, in milliseconds. All later statements on the table wait behind the request. Below
 * PostgreSQL's deadlock_timeout of a second, so that in a deadlock the migration gives way and not a caller.
 */
export const LOCK_TIMEOUT_MS = 800;
/** Age from which a transaction that holds a conflicting lock is waited for without a request, in milliseconds. */
const LONG_TRANSACTION_MS = 1_000;
const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 5_000;
/** About half an hour. */
const ATTEMPTS = 360;

/** A transaction that prevents a lock. */
interface Blocker {
  pid: number;
  application: string;
  seconds: number;
}

/** Old transactions hold locks of the tables. */
class TablesInUse extends Error {
  readonly blockers: readonly Blocker[];

  constructor(blockers: readonly Blocker[]) {
    super(`locked by ${blockers.map(({ pid, seconds }) => `process ${pid} for ${seconds} s`).join(", ")}`);
    this.blockers = blockers;
  }
}

/**
 * Runs work in one short transaction that locks tables. The lock requests have a time limit and are repeated with
 * backoff. While a long transaction, such as a dump, holds a lock of the tables, nothing is requested: all other
 * statements would wait for it too.
 * @throws StartupError that names the long transactions when the tables cannot be locked for half an hour
 */
export async function withTableLocks(
  session: OnlineSession,
  { tables, mode, lockedFirst }: TableLocks,
  work: () => Promise<void>,
): Promise<void> {
  const attempt = async () => {
    const blockers = await findLongTransactions(session, { tables, mode });
    if (blockers.length > 0) throw new TablesInUse(blockers);
    await transact(session, { lock_timeout: LOCK_TIMEOUT_MS }, async () => {
      if (lockedFirst !== undefined) await session.client.query(`lock table ${lockedFirst} in share mode`);
      await session.client.query(`lock table ${tables.join(", ")} in ${mode} mode`);
      const startMs = performance.now();
      await work();
      const lockedMs = Math.round(performance.now() - startMs);
      session.log.debug({ tables, mode, lockedMs }, "Tables changed under lock");
    });
  };
  try {
    await withRetries(attempt, {
      attempts: ATTEMPTS,
      firstDelayMs: FIRST_DELAY_MS,
      maxDelayMs: MAX_DELAY_MS,
      isRetryable: (error) => error instanceof TablesInUse || isContention(error),
      onRetry: (error, retry) => {
        const blockers = error instanceof TablesInUse ? error.blockers : [];
        session.log.warn({ tables, blockers, ...retry }, "Lock of tables not acquired");
      },
    });
  } catch (error) {
    if (!(error instanceof TablesInUse) && !isContention(error)) throw error;
    const cause = error instanceof TablesInUse ? error.message : "too many statements use them";
    throw new StartupError(
      `Cannot lock ${tables.join(", ")} to migrate the database: ${cause}. End long transactions and start again; the migration continues where it was.`,
    );
  }
}

/** Returns the other transactions of some age that hold a lock of one of the tables which conflicts with the mode. */
async function findLongTransactions(
  { client }: OnlineSession,
  { tables, mode }: TableLocks,
): Promise<Blocker[]> {
  const { rows } = await client.query<Blocker>(
    `select pid, max(application_name) as application,
       floor(extract(epoch from now() - min(xact_start)))::int as seconds
     from pg_locks join pg_stat_activity using (pid)
     where relation = any($1::regclass[]) and granted and pid <> pg_backend_pid()
       and ($2 = 'access exclusive' or pg_locks.mode not in ('AccessShareLock', 'RowShareLock'))
       and xact_start < now() - $3 * interval '1 millisecond'
     group by pid order by seconds desc limit 5`,
    [tables, mode, LONG_TRANSACTION_MS],
  );
  return rows;
}
