import type pg from "pg";
import type { Fixture } from "../model/fixture.ts";
import { NaiveStatements } from "./naive-statements.ts";

/** Runs `work` in a transaction, and what it registers by `afterCommit` in a second one. */
export async function runInTransaction<T>(
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
