import type { MikroORM } from "@mikro-orm/postgresql";
import { Kysely, PostgresDialect } from "kysely";
import type { Pool, PoolClient } from "pg";
import { withRetries } from "../../../kernel/async/with-retries.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Tx } from "../database.ts";
import { isConnectionLost, isContention, toAppError } from "../postgres-errors.ts";
import { assertNotAborted, queryClient, withClient } from "./pool-client.ts";
import type { Semaphore } from "./semaphore.ts";

/** How a transaction that succeeds ends. */
export type Ending = "commit" | "rollback";

/** Runs `work` in a transaction and retries it as `Database.transact` says. */
export type RunTransaction = <T>(call: Call, work: (tx: Tx) => Promise<T>, ending: Ending) => Promise<T>;

export interface TransactionOptions {
  orm: MikroORM;
  pool: Pool;
  /** Limits how many transactions run at once. */
  semaphore: Semaphore;
  /** Upper bound of one statement, in milliseconds. A call's deadline may lower it. */
  statementTimeoutMs: number;
  log: Log;
}

const ATTEMPTS = 3;
const FIRST_DELAY_MS = 10;

/** Creates the function that runs transactions. */
export function createRunTransaction(options: TransactionOptions): RunTransaction {
  return async (call, work, ending) => {
    let isEnding = false;
    const attempt = () => {
      isEnding = false;
      return runOnce(options, call, work, ending, () => {
        isEnding = true;
      });
    };
    try {
      return await withRetries(attempt, {
        attempts: ATTEMPTS,
        firstDelayMs: FIRST_DELAY_MS,
        // After a connection is lost during the commit, it is unknown whether the transaction was committed.
        isRetryable: (error) =>
          !call.signal.aborted && (isContention(error) || (isConnectionLost(error) && !isEnding)),
        onRetry: (error, retry) => options.log.debug({ err: error, ...retry }, "Transaction retried"),
        signal: call.signal,
      });
    } catch (error) {
      assertNotAborted(call);
      throw toAppError(error);
    }
  };
}

async function runOnce<T>(
  { orm, pool, semaphore, statementTimeoutMs }: TransactionOptions,
  call: Call,
  work: (tx: Tx) => Promise<T>,
  ending: Ending,
  onEnd: () => void,
): Promise<T> {
  await semaphore.acquire(call.signal);
  return withClient(pool, call, async (client, discard) => {
    const remainingMs = Math.max(1, Math.ceil(call.deadlineAtMs - performance.now()));
    const timeoutMs = Math.min(statementTimeoutMs, remainingMs);
    try {
      await client.query(`begin; set local statement_timeout = ${timeoutMs}`);
      const em = orm.em.fork();
      em.setTransactionContext(kyselyOn(client));
      const result = await work({
        em,
        query: (statement) => queryClient(client, statement),
        invalidate: () => {},
      });
      await em.flush();
      assertNotAborted(call);
      onEnd();
      const { command } = await client.query(ending);
      // PostgreSQL answers the commit of a failed transaction with ROLLBACK, and reports no error.
      if (command.toLowerCase() !== ending) throw new Error(`the transaction ended with ${command}`);
      return result;
    } catch (error) {
      // A broken connection has no transaction left to roll back.
      if (!isConnectionLost(error)) await client.query("rollback").catch(discard);
      throw error;
    }
  }).finally(() => semaphore.release());
}

/** Runs the ORM's statements on this connection only. */
function kyselyOn(client: PoolClient): Kysely<unknown> {
  const borrowed = { query: client.query.bind(client), release: () => {} };
  const pool = { connect: async () => borrowed, end: async () => {}, options: {} };
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}
