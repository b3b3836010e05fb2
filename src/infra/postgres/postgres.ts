import { type EntitySchema, MikroORM, type SqlEntityManager } from "@mikro-orm/postgresql";
import { Kysely, PostgresDialect } from "kysely";
import type { Pool, PoolClient } from "pg";
import type { Call } from "../../kernel/call.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { withRetries } from "../../kernel/with-retries.ts";
import { databaseBusy, isConnectionLost, isContention, toAppError } from "./postgres-errors.ts";
import { createSemaphore } from "./semaphore.ts";
import { compileStatement, prepareText, type Statement } from "./statement.ts";

/** An open transaction: entities for what has rules, SQL for what has many rows. */
export interface Tx {
  readonly em: SqlEntityManager;
  /** Returns the rows of a statement. */
  query<Row>(statement: Statement<Row>): Promise<Row[]>;
  /** @deprecated use `query` */
  run<Row>(statement: TextStatement, values: readonly unknown[]): Promise<Row[]>;
  /** Notes cache tags of what this transaction changes: answers made of it are dropped once it is committed. */
  invalidate(...tags: string[]): void;
}

/** @deprecated use Kysely's `sql`, and `prepare` or `prepareDynamic` where the plan is to be kept */
export interface TextStatement {
  text: string;
  name?: string | undefined;
}

/** @deprecated use `prepare` or `prepareDynamic` */
export function prepared(text: string): TextStatement {
  return { text, name: prepareText(text, []).name };
}

/** The shop's database. Its methods throw AppErrors for whatever a caller can act upon. */
export interface Database {
  /** Rows of one statement outside a transaction, on whichever connection is free. */
  read<Row>(
    call: Call,
    statement: Statement<Row> | TextStatement,
    values?: readonly unknown[],
  ): Promise<Row[]>;
  /**
   * Runs `work` in one transaction at READ COMMITTED and commits, unless the caller has gone or the deadline
   * has passed by then. A deadlock, a serialization failure, a lock timeout or a connection that broke
   * before the commit runs it again, 3 times in all; `work` must therefore have no effect besides its rows.
   */
  transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** The same without a commit: what `work` changes is undone, for `validate_only`. */
  dryRun<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Resolves when a statement gets an answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Times are milliseconds. */
export interface PostgresOptions {
  url: string;
  entities: EntitySchema[];
  poolMax: number;
  poolWaitMs: number;
  statementTimeoutMs: number;
  log: Log;
}

const TRANSACTION_ATTEMPTS = 3;
const FIRST_BACKOFF_MS = 10;
/** How long after the server should have given up we stop to wait for its answer, milliseconds. */
const ANSWER_SLACK_MS = 1_000;

/** Connects. The pool holds `poolMax` connections at most, and a caller waits `poolWaitMs` at most for one. */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const { log, statementTimeoutMs } = options;
  const orm = await MikroORM.init({
    clientUrl: options.url,
    entities: options.entities,
    pool: { max: options.poolMax },
    driverOptions: {
      connectionTimeoutMillis: options.poolWaitMs,
      statement_timeout: statementTimeoutMs,
      // A transaction whose process has hung must not hold its locks for ever.
      idle_in_transaction_session_timeout: 30_000,
      // A connection that is dropped while a statement runs ends the statement: see withClient.
      // Times are read as they are written here, whatever the database's own settings are.
      options: "-c client_connection_check_interval=100 -c datestyle=ISO -c timezone=UTC",
      // A peer that is gone without a word is noticed by the kernel, and a reply that never comes by the driver.
      keepAlive: true,
      query_timeout: statementTimeoutMs + ANSWER_SLACK_MS,
      application_name: "cartwright",
    },
    forceUtcTimezone: true,
    colors: false,
    logger: (message) => log.debug({}, message),
  });
  const pool: Pool = await orm.em.getDriver().getConnection().getNativeClient();

  // Transactions that wait for the same row hold their connections meanwhile. A quarter of the pool is kept
  // from them, so that reads go on beside a rush.
  const writers = createSemaphore(Math.ceil(options.poolMax * 0.75), options.poolWaitMs, databaseBusy);

  async function runOnce<T>(
    call: Call,
    work: (tx: Tx) => Promise<T>,
    end: { with: "commit" | "rollback"; begun: boolean },
  ): Promise<T> {
    await writers.acquire(call.signal);
    return withClient(pool, call, async (client, discard) => {
      const limitMs = Math.min(
        statementTimeoutMs,
        Math.max(1, Math.ceil(call.deadlineAtMs - performance.now())),
      );
      try {
        await client.query(`begin; set local statement_timeout = ${limitMs}`);
        const kysely = onlyOn(client);
        const em = orm.em.fork();
        em.setTransactionContext(kysely);
        const result = await work({
          em,
          query: (statement) => queryOn(client, statement),
          run: (statement, values) => queryOn(client, { name: "", ...statement, values }),
          invalidate: () => {},
        });
        await em.flush();
        assertWanted(call);
        end.begun = true;
        const { command } = await client.query(end.with);
        // PostgreSQL answers the commit of a transaction that has failed with a rollback, and no error.
        if (command.toLowerCase() !== end.with) throw new Error(`the transaction ended with ${command}`);
        return result;
      } catch (error) {
        // On a broken connection there is nothing to roll back, and nobody to tell.
        if (!isConnectionLost(error)) await client.query("rollback").catch(discard);
        throw error;
      }
    }).finally(() => writers.release());
  }

  async function runTransaction<T>(
    call: Call,
    work: (tx: Tx) => Promise<T>,
    ending: "commit" | "rollback",
  ): Promise<T> {
    const end = { with: ending, begun: false };
    // Once the commit is on its way, a connection that breaks does not tell whether it was done.
    const isRetryable = (error: unknown): boolean =>
      !call.signal.aborted && (isContention(error) || (isConnectionLost(error) && !end.begun));
    const attempt = (): Promise<T> => {
      end.begun = false;
      return runOnce(call, work, end);
    };
    try {
      return await withRetries(attempt, {
        attempts: TRANSACTION_ATTEMPTS,
        firstDelayMs: FIRST_BACKOFF_MS,
        isRetryable,
        onRetry: (error, retry) => log.debug({ err: error, ...retry }, "transaction retried"),
        signal: call.signal,
      });
    } catch (error) {
      assertWanted(call);
      throw toAppError(error);
    }
  }

  return {
    transact: (call, work) => runTransaction(call, work, "commit"),
    dryRun: (call, work) => runTransaction(call, work, "rollback"),
    async read<Row>(
      call: Call,
      statement: Statement<Row> | TextStatement,
      values: readonly unknown[] = [],
    ): Promise<Row[]> {
      const given =
        "isRawBuilder" in statement || "values" in statement ? statement : { name: "", ...statement, values };
      const run = () => withClient(pool, call, (client) => queryOn<Row>(client, given));
      try {
        // A pooled connection may have died while nobody looked; a second one will do.
        return await withRetries(run, { attempts: 2, firstDelayMs: 0, isRetryable: isConnectionLost });
      } catch (error) {
        assertWanted(call);
        throw toAppError(error);
      }
    },
    async ping() {
      await pool.query("select 1");
    },
    close: () => orm.close(),
  };
}

async function queryOn<Row>(client: PoolClient, statement: Statement<Row>): Promise<Row[]> {
  const { text, values, name } = compileStatement(statement);
  const { rows } = await client.query<Row & object>({ text, name, values: [...values] });
  return rows;
}

/**
 * Lends a connection. When the caller goes or the deadline passes, it is dropped, and with it whatever it was
 * doing: PostgreSQL notices within its client_connection_check_interval and rolls back. That costs a new
 * connection now and then, and cannot hit somebody else's statement, as a cancel that comes late can.
 */
async function withClient<T>(
  pool: Pool,
  call: Call,
  work: (client: PoolClient, discard: (why: Error) => void) => Promise<T>,
): Promise<T> {
  const client = await connect(pool, call);
  const drop = () => void client.end();
  let failure: Error | undefined;
  const discard = (why: Error) => {
    failure = why;
  };
  call.signal.addEventListener("abort", drop, { once: true });
  try {
    assertWanted(call);
    return await work(client, discard);
  } catch (error) {
    if (isConnectionLost(error)) discard(error instanceof Error ? error : new Error(String(error)));
    throw error;
  } finally {
    call.signal.removeEventListener("abort", drop);
    client.release(failure);
  }
}

/** Waits for a connection for as long as somebody waits for the answer. */
async function connect(pool: Pool, call: Call): Promise<PoolClient> {
  assertWanted(call);
  const { signal } = call;
  return new Promise<PoolClient>((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    // One that comes too late goes back to the pool.
    const take = (client: PoolClient) => (signal.aborted ? client.release() : resolve(client));
    pool
      .connect()
      .then(take, reject)
      .finally(() => signal.removeEventListener("abort", leave));
  });
}

/** Throws when nobody waits for the answer any more. */
function assertWanted(call: Call): void {
  if (!call.signal.aborted) return;
  throw call.signal.reason instanceof AppError
    ? call.signal.reason
    : new AppError("cancelled", "The caller left before the change was committed. Nothing was changed.", {
        reason: "CALLER_GONE",
      });
}

/** Statements of the ORM and of Kysely on this connection and no other. */
function onlyOn(client: PoolClient): Kysely<unknown> {
  const lent = { query: client.query.bind(client), release: () => {} };
  const pool = { connect: async () => lent, end: async () => {}, options: {} };
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}
