import type pg from "pg";
import { readPostgresError } from "../../../../src/infra/postgres/postgres-errors.ts";
import type { Fixture } from "../model/fixture.ts";
import { NaiveStatements } from "./naive-statements.ts";

const DEADLOCK_DETECTED = "40P01";
const ATTEMPTS = 5;

/**
 * Runs `work` in a transaction, and what it registers by `afterCommit` in a second one. A transaction that a deadlock has
 * ended is repeated.
 */
export async function runInTransaction<T>(
  pool: pg.Pool,
  fixture: Fixture,
  work: (statements: NaiveStatements) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptInTransaction(pool, fixture, work);
    } catch (error) {
      if (attempt === ATTEMPTS || readPostgresError(error)?.code !== DEADLOCK_DETECTED) throw error;
    }
  }
}

async function attemptInTransaction<T>(
  pool: pg.Pool,
  fixture: Fixture,
  work: (statements: NaiveStatements) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let failure: Error | undefined;
  const ignore = () => {};
  client.on("error", ignore);
  try {
    const statements = new NaiveStatements(client, fixture);
    await client.query("begin");
    const result = await work(statements);
    await client.query("commit");
    for (const later of statements.registered) await later(statements);
    return result;
  } catch (error) {
    await client.query("rollback").catch((reason: Error) => {
      failure = reason;
    });
    throw error;
  } finally {
    client.off("error", ignore);
    client.release(failure);
  }
}
