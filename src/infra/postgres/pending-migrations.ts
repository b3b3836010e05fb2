import { Client } from "pg";
import { migrations } from "./migrate.ts";

/** Returns the names of the migrations that a database does not have yet, oldest first. Changes nothing. */
export async function findPendingMigrations(url: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ exists: boolean }>(
      "select to_regclass('migration') is not null as exists",
    );
    const applied =
      rows[0]?.exists === true
        ? (await client.query<{ name: string }>("select name from migration")).rows
        : [];
    const names = new Set(applied.map(({ name }) => name));
    return migrations.map(({ name }) => name).filter((name) => !names.has(name));
  } finally {
    await client.end();
  }
}
