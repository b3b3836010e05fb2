import { type EntitySchema, MikroORM } from "@mikro-orm/postgresql";
import type { Pool } from "pg";
import { withRetries } from "../../kernel/async/with-retries.ts";
import type { Call } from "../../kernel/call.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import type { Log } from "../../kernel/log.ts";
import { assertNotAborted, queryClient, RESPONSE_SLACK_MS, withClient } from "./connection/pool-client.ts";
import { createSemaphore } from "./connection/semaphore.ts";
import { readSnapshot } from "./connection/snapshot.ts";
import { createRunTransaction } from "./connection/transaction.ts";
import type { Database } from "./database.ts";
import { databaseBusy, isConnectionLost, toAppError } from "./postgres-errors.ts";
import type { Statement } from "./statement.ts";

export type { Database, Invalidation, SnapshotQuery, TransactionLimits, Tx } from "./database.ts";

export interface PostgresOptions {
  url: string;
  entities: EntitySchema[];
  /** Maximum number of connections. */
  poolMax: number;
  /** Time limit for a connection, in milliseconds. */
  poolWaitMs: number;
  /** Upper bound of one statement, in milliseconds. */
  statementTimeoutMs: number;
  /** Upper bound of one transaction, in milliseconds. Defaults to a minute, or to that of two statements if longer. */
  transactionTimeoutMs?: number;
  log: Log;
}

/** Share of the pool that transactions may hold. Transactions may all wait for one row; the rest serves reads. */
const TRANSACTION_SHARE = 0.75;

/** Connects to PostgreSQL. */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const { log, statementTimeoutMs, poolMax, poolWaitMs } = options;
  const { transactionTimeoutMs = Math.max(MINUTE_MS, 2 * statementTimeoutMs) } = options;
  const orm = await openOrm(options);
  const pool: Pool = await orm.em.getDriver().getConnection().getNativeClient();
  const semaphore = createSemaphore(Math.ceil(poolMax * TRANSACTION_SHARE), poolWaitMs, databaseBusy);
  const runTransaction = createRunTransaction({
    orm,
    pool,
    semaphore,
    statementTimeoutMs,
    transactionTimeoutMs: (await hasTransactionTimeout(pool)) ? transactionTimeoutMs : undefined,
    log,
  });

  return {
    transact: (call, work, limits) => runTransaction(call, work, "commit", limits),
    dryRun: (call, work) => runTransaction(call, work, "rollback"),
    async read<Row>(call: Call, statement: Statement<Row>): Promise<Row[]> {
      const run = () => withClient(pool, call, (client) => queryClient(client, statement));
      try {
        // A pooled connection may have died while idle.
        return await withRetries(run, { attempts: 2, firstDelayMs: 0, isRetryable: isConnectionLost });
      } catch (error) {
        assertNotAborted(call);
        throw toAppError(error);
      }
    },
    readSnapshot: (call, timeLimitMs, work) => readSnapshot(pool, call, timeLimitMs, work),
    async ping() {
      await pool.query("select 1");
    },
    close: () => orm.close(),
  };
}

/** Returns whether the server can limit the time of transactions, as PostgreSQL 17 and later do. */
async function hasTransactionTimeout(pool: Pool): Promise<boolean> {
  const { rowCount } = await pool.query("select from pg_settings where name = 'transaction_timeout'");
  return rowCount === 1;
}

function openOrm({ log, url, entities, poolMax, poolWaitMs, statementTimeoutMs }: PostgresOptions) {
  return MikroORM.init({
    clientUrl: url,
    entities,
    pool: { max: poolMax },
    driverOptions: {
      connectionTimeoutMillis: poolWaitMs,
      statement_timeout: statementTimeoutMs,
      // Releases the locks of a transaction whose process hangs.
      idle_in_transaction_session_timeout: 30_000,
      // The check interval ends statements of closed connections (see withClient). Times are read in the format set
      // here, whatever the database's own settings are.
      options: "-c client_connection_check_interval=100 -c datestyle=ISO -c timezone=UTC",
      // keepAlive detects a peer that vanished; query_timeout a reply that never comes.
      keepAlive: true,
      query_timeout: statementTimeoutMs + RESPONSE_SLACK_MS,
      application_name: "cartwright",
    },
    forceUtcTimezone: true,
    colors: false,
    logger: (message) => log.debug({}, message),
  });
}
