import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type EntitySchema, MikroORM, type SqlEntityManager } from "@mikro-orm/postgresql";
import { type RawBuilder, sql } from "kysely";
import type { Pool } from "pg";
import type { Call } from "../kernel/call.ts";
import { AppError } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";
import { isBroken, isContention, translate } from "./postgres-errors.ts";

/** An open transaction: entities for what has rules, SQL for what has many rows. */
export interface Tx {
  readonly em: SqlEntityManager;
  query<Row>(statement: RawBuilder<Row>): Promise<Row[]>;
}

/** A statement. With a name, PostgreSQL plans it once for each connection and keeps it: only for a few texts. */
export interface Statement {
  text: string;
  name?: string | undefined;
}

/** A statement named by a hash of its text, since PostgreSQL cuts names at 63 bytes. */
export function prepared(text: string): Statement {
  return { text, name: createHash("sha1").update(text).digest("base64url") };
}

/** The shop's database. Its methods throw AppErrors for whatever a caller can act upon. */
export interface Database {
  readonly orm: MikroORM;
  /** Rows of one statement outside a transaction, on whichever connection is free. */
  read<Row>(call: Call, statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /**
   * Runs `work` in one transaction at READ COMMITTED and commits, unless the caller has gone or the deadline
   * has passed by then. A deadlock, a serialization failure, a lock timeout or a connection that broke
   * before the commit runs it again, 3 times in all; `work` must therefore have no effect besides its rows.
   */
  transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** The same without a commit: what `work` changes is undone, for `validate_only`. */
  rehearse<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Whether a statement gets an answer. */
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

const TRIES = 3;
const FIRST_BACKOFF_MS = 5;

class Rehearsed extends Error {
  override readonly name = "Rehearsed";
}

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
      // A peer that is gone without a word is noticed by the kernel, and a reply that never comes by the driver.
      keepAlive: true,
      query_timeout: statementTimeoutMs + 5_000,
      application_name: "cartwright",
    },
    forceUtcTimezone: true,
    logger: (message) => log.debug({}, message),
  });
  const pool: Pool = await orm.em.getDriver().getConnection().getNativeClient();

  const assertWanted = (call: Call) => {
    if (!call.signal.aborted) return;
    throw call.signal.reason instanceof AppError
      ? call.signal.reason
      : new AppError("cancelled", "The caller left before the change was committed. Nothing was changed.", {
          reason: "CALLER_GONE",
        });
  };

  async function once<T>(call: Call, work: (tx: Tx) => Promise<T>, commits: { begun: boolean }): Promise<T> {
    const abort = { signal: call.signal, inflightQueryAbortStrategy: "cancel query" } as const;
    return orm.em.fork(abort).transactional(async (em) => {
      const query = async <Row>(statement: RawBuilder<Row>) =>
        (await statement.execute(em.getKysely(), abort)).rows;
      const leftMs = Math.ceil(call.deadlineAtMs - performance.now());
      // The usual deadline and the usual statement timeout are about equal: only a shorter one is worth a round trip.
      if (leftMs < statementTimeoutMs * 0.9) {
        await query(sql`select set_config('statement_timeout', ${String(Math.max(leftMs, 1))}, true)`);
      }
      const result = await work({ em, query });
      await em.flush();
      assertWanted(call);
      commits.begun = true;
      return result;
    }, abort);
  }

  async function transact<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      assertWanted(call);
      const commits = { begun: false };
      try {
        return await once(call, work, commits);
      } catch (error) {
        assertWanted(call);
        const again = isContention(error) || (isBroken(error) && !commits.begun);
        if (!again || attempt === TRIES) throw translate(error);
        log.debug({ err: error, attempt }, "transaction is run again");
        await sleep(FIRST_BACKOFF_MS * 2 ** attempt * (0.5 + Math.random()));
      }
    }
  }

  async function read<Row>(call: Call, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    const run = async () => (await pool.query<Row & object>({ ...statement, values: [...values] })).rows;
    assertWanted(call);
    try {
      return await run();
    } catch (error) {
      assertWanted(call);
      if (!isBroken(error)) throw translate(error);
    }
    return run().catch((error: unknown) => Promise.reject(translate(error)));
  }

  return {
    orm,
    transact,
    read,
    async rehearse<T>(call: Call, work: (tx: Tx) => Promise<T>): Promise<T> {
      const kept: { result?: T } = {};
      try {
        await transact(call, async (tx) => {
          kept.result = await work(tx);
          await tx.em.flush();
          throw new Rehearsed();
        });
      } catch (error) {
        if (!(error instanceof Rehearsed)) throw error;
      }
      return kept.result as T;
    },
    async ping() {
      await pool.query("select 1");
    },
    async close() {
      await orm.close();
    },
  };
}
