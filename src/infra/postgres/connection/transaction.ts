import type { MikroORM } from "@mikro-orm/postgresql";
import { Kysely, PostgresDialect } from "kysely";
import type { Pool, PoolClient } from "pg";
import { withRetries } from "../../../kernel/async/with-retries.ts";
import type { Call } from "../../../kernel/call.ts";
import { outcomeUnknown } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import type { TransactionLimits, Tx } from "../database.ts";
import {
  isConnectionLost,
  isContention,
  isLockTimeout,
  isTransactionTimeout,
  toAppError,
} from "../postgres-errors.ts";
import { createStatementRunner } from "./pipeline.ts";
import { abortReason, assertNotAborted, withClient } from "./pool-client.ts";
import type { Semaphore } from "./semaphore.ts";

/** The command that ends a transaction whose work succeeded. */
export type Completion = "commit" | "rollback";

/** Runs `work` in a transaction, with the retries of `Database.transact`. */
export type RunTransaction = <T>(
  call: Call,
  work: (tx: Tx) => Promise<T>,
  completion: Completion,
  limits?: TransactionLimits,
) => Promise<T>;

export interface TransactionOptions {
  orm: MikroORM;
  pool: Pool;
  /** Limits the number of concurrent transactions. */
  semaphore: Semaphore;
  /** Upper bound of one statement, in milliseconds. A call's deadline may lower it. */
  statementTimeoutMs: number;
  /** Upper bound of one transaction, in milliseconds; undefined if the server cannot enforce one. */
  transactionTimeoutMs: number | undefined;
  log: Log;
}

/** Without an outbox, events are not stored and tags are not invalidated. */
const NO_INVALIDATION = { tags: [], generation: Buffer.alloc(0) };
const ATTEMPTS = 3;
const FIRST_DELAY_MS = 10;

/** Creates the function that runs transactions. */
export function createRunTransaction(options: TransactionOptions): RunTransaction {
  return async (call, work, completion, limits = {}) => {
    let isCommitting = false;
    const attempt = () => {
      isCommitting = false;
      return runOnce(options, call, work, completion, limits, () => {
        isCommitting = true;
        call.onCommit?.();
      });
    };
    try {
      return await withRetries(attempt, {
        attempts: ATTEMPTS,
        firstDelayMs: FIRST_DELAY_MS,
        // After a connection is lost during the commit, it is unknown whether the transaction was committed.
        isRetryable: (error) =>
          !call.signal.aborted &&
          !isTransactionTimeout(error) &&
          !(limits.lockTimeoutMs !== undefined && isLockTimeout(error)) &&
          (isContention(error) || (isConnectionLost(error) && !isCommitting)),
        onRetry: (error, retry) => options.log.debug({ err: error, ...retry }, "Transaction retried"),
        signal: call.signal,
      });
    } catch (error) {
      if (isCommitting && isConnectionLost(error)) throw lostCommitError(call, error);
      assertNotAborted(call);
      throw toAppError(error);
    }
  };
}

async function runOnce<T>(
  options: TransactionOptions,
  call: Call,
  work: (tx: Tx) => Promise<T>,
  completion: Completion,
  limits: TransactionLimits,
  onCommitting: () => void,
): Promise<T> {
  const { orm, pool, semaphore, transactionTimeoutMs } = options;
  await semaphore.acquire(call.signal);
  return withClient(pool, call, async (client, discard, keepOpen) => {
    const remainingMs = Math.max(1, Math.ceil(call.deadlineAtMs - performance.now()));
    const statementTimeoutMs = limits.statementTimeoutMs ?? options.statementTimeoutMs;
    const timeoutMs = Math.min(statementTimeoutMs, remainingMs);
    try {
      const settings = [`statement_timeout = ${timeoutMs}`];
      if (transactionTimeoutMs !== undefined) settings.push(`transaction_timeout = ${transactionTimeoutMs}`);
      if (limits.lockTimeoutMs !== undefined) settings.push(`lock_timeout = ${limits.lockTimeoutMs}`);
      await client.query(`begin; ${settings.map((setting) => `set local ${setting}`).join("; ")}`);
      const em = orm.em.fork();
      em.setTransactionContext(kyselyOn(client));
      const result = await work({
        em,
        ...createStatementRunner(client, timeoutMs),
        publish: () => {},
        invalidate: () => {},
        invalidateThrottled: () => {},
        invalidation: () => NO_INVALIDATION,
        repeatInvalidation: () => {},
      });
      await em.flush();
      assertNotAborted(call);
      if (completion === "commit") {
        // From here on PostgreSQL decides. A closed connection would leave the outcome unknown.
        keepOpen();
        onCommitting();
      }
      const { command } = await client.query(completion);
      // PostgreSQL responds to the commit of a failed transaction with ROLLBACK, and reports no error.
      if (command.toLowerCase() !== completion) throw new Error(`the transaction ended with ${command}`);
      return result;
    } catch (error) {
      // A broken connection has no transaction left to roll back.
      if (!isConnectionLost(error)) await client.query("rollback").catch(discard);
      throw error;
    }
  }).finally(() => semaphore.release());
}

/** Returns the error of a call whose connection was lost during its COMMIT. */
function lostCommitError({ signal }: Call, error: unknown): unknown {
  const isLate = signal.aborted && abortReason(signal).code === "deadline_exceeded";
  return isLate ? outcomeUnknown() : toAppError(error);
}

/** Runs the ORM's statements on this connection only. */
function kyselyOn(client: PoolClient): Kysely<unknown> {
  const borrowed = { query: client.query.bind(client), release: () => {} };
  const pool = { connect: async () => borrowed, end: async () => {}, options: {} };
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}
