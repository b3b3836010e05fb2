import { readFileSync } from "node:fs";
import { Client } from "pg";

const script = readFileSync(new URL("../../../src/infra/postgres/invariants.sql", import.meta.url), "utf8");

/** The query of the script that checks the invariants, without its transaction. */
export const invariantsQuery = script.replace(/^(begin|commit).*;$/gm, "");

/** A violation of an invariant. */
export interface Violation {
  invariant: string;
  subject: string;
  detail: string;
}

/** Returns the violations of the invariants in a database; an empty list when all hold. */
export async function findViolations(url: string): Promise<Violation[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin transaction isolation level repeatable read read only");
    return (await client.query<Violation>(invariantsQuery)).rows;
  } finally {
    await client.end();
  }
}
