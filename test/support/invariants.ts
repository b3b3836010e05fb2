import { readFileSync } from "node:fs";
import { Client } from "pg";

const script = readFileSync(new URL("../../src/infra/postgres/invariants.sql", import.meta.url), "utf8");

/** The one query of the invariants' script, without the transaction around it. */
export const invariantsQuery = script.replace(/^(begin|commit).*;$/gm, "");

/** A row that should not be. */
export interface Breach {
  invariant: string;
  subject: string;
  detail: string;
}

/** The breaches that the invariants' script finds; an empty list when all holds. */
export async function breaches(url: string): Promise<Breach[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin transaction isolation level repeatable read read only");
    return (await client.query<Breach>(invariantsQuery)).rows;
  } finally {
    await client.end();
  }
}
