import { Client } from "pg";
import { compileStatement, type Statement } from "../../../src/infra/postgres/statement.ts";
import { type Breach, runChecks } from "../../../src/operations/operations.ts";
import type { TestDatabase } from "./database.ts";

/** A check of an invariant that has found breaches. */
export interface FailedCheck {
  name: string;
  /** The number of the invariant, such as I1. */
  invariant: string;
  breaches: readonly Breach[];
}

/** Runs all checks of the invariants on a connection, in its open transaction. Returns those that failed. */
export async function findFailedChecks(query: TestDatabase["query"]): Promise<FailedCheck[]> {
  const run = <Row>(statement: Statement<Row>): Promise<Row[]> => {
    const { text, values } = compileStatement(statement);
    return query<Row>(text, [...values]);
  };
  const results = await runChecks(run, 100);
  return results
    .filter(({ breachCount }) => breachCount > 0n)
    .map(({ name, invariant, breaches }) => ({ name, invariant, breaches }));
}

/** Runs all checks of the invariants on one snapshot of a database. Returns those that failed; empty when all hold. */
export async function findViolations(url: string): Promise<FailedCheck[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin transaction isolation level repeatable read read only");
    return await findFailedChecks(
      async <Row>(text: string, values: unknown[] = []) => (await client.query(text, values)).rows as Row[],
    );
  } finally {
    await client.end();
  }
}
