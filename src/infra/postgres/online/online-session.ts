import type { ClientBase } from "pg";
import type { Log } from "../../../kernel/log.ts";

/**
 * The connection of an online migration. It holds the advisory lock of migrations, so that no statement runs after the
 * lock is lost.
 */
export interface OnlineSession {
  readonly client: ClientBase;
  readonly log: Log;
}

/**
 * Migrates while replicas of the previous version read and write. Its steps are transactions of their own. It may be
 * interrupted at any point and run again.
 */
export type OnlineMigration = (session: OnlineSession) => Promise<void>;

/** Returns whether a query has a row. */
export async function exists(
  { client }: OnlineSession,
  query: string,
  values: unknown[] = [],
): Promise<boolean> {
  return (await client.query(`select from (${query}) as found limit 1`, values)).rows.length > 0;
}

/** Returns whether a table has a column. */
export function hasColumn(session: OnlineSession, table: string, column: string): Promise<boolean> {
  return exists(
    session,
    "select from pg_attribute where attrelid = to_regclass($1) and attname = $2 and not attisdropped",
    [table, column],
  );
}

/** Runs work in a transaction with settings, which end with it. */
export async function transact<T>(
  { client }: OnlineSession,
  settings: Readonly<Record<string, string | number>>,
  work: () => Promise<T>,
): Promise<T> {
  const set = Object.entries(settings).map(([name, value]) => `set local ${name} = ${value}`);
  try {
    await client.query(["begin", ...set].join("; "));
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    // The error of a lost connection is the first one.
    await client.query("rollback").catch(() => {});
    throw error;
  }
}
