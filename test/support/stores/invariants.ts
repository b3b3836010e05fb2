import { Client } from "pg";
import type { SnapshotQuery } from "../../../src/infra/postgres/postgres.ts";
import { compileStatement, type Statement } from "../../../src/infra/postgres/statement.ts";
import { type Breach, preventTruncation, runChecks } from "../../../src/operations/operations.ts";
import type { TestDatabase } from "./database.ts";

/** A check of an invariant that has found breaches. */
export interface FailedCheck {
  name: string;
  /** The number of the invariant, such as I1. */
  invariant: string;
  breaches: readonly Breach[];
}

/** Returns a function that runs statements on a connection, in its open transaction. */
export const runOn =
  (query: TestDatabase["query"]): SnapshotQuery =>
  <Row>(statement: Statement<Row>) => {
    const { text, values } = compileStatement(statement);
    return query<Row>(text, [...values]);
  };

/** Runs all checks of the invariants on a connection, in its open transaction. Returns those that failed. */
export async function findFailedChecks(query: TestDatabase["query"]): Promise<FailedCheck[]> {
  const results = await runChecks(runOn(query), 100);
  return results
    .filter(({ breachCount }) => breachCount > 0n)
    .map(({ name, invariant, breaches }) => ({ name, invariant, breaches }));
}

/** Runs all checks of the invariants on one snapshot of a database. Returns those that failed; empty when all hold. */
export async function findViolations(url: string): Promise<FailedCheck[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const query = async <Row>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await client.query(text, values)).rows;
  try {
    await query("begin transaction isolation level repeatable read read only");
    await preventTruncation(runOn(query));
    return await findFailedChecks(query);
  } finally {
    await client.end();
  }
}
