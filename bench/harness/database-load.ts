import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { siblingUrl } from "./databases.ts";
import { readProcess, readProcesses } from "./process-stat.ts";

/** The work of a database server, as PostgreSQL and the kernel report it. */
export interface DatabaseLoad {
  /** Returns the transactions that have ended so far; a read outside a transaction counts as one. Takes 11 s. */
  transactions(): Promise<number>;
  /** Returns the processor time of all processes of the server so far, seconds; NaN without /proc. */
  busySeconds(): Promise<number>;
  close(): Promise<void>;
}

/** PostgreSQL processes report their statistics after 10 s of idleness at the latest. */
const REPORTED_AFTER_MS = 11_000;

/** Observes a database through another database of the same server, so that the queries do not count. */
export async function openDatabaseLoad(databaseUrl: string): Promise<DatabaseLoad> {
  const database = decodeURIComponent(new URL(databaseUrl).pathname.slice(1));
  const client = new Client({ connectionString: siblingUrl(databaseUrl, "postgres") });
  client.on("error", () => {}); // a failed query rejects
  await client.connect();
  const backend = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const server = (await readProcess(backend.rows[0]?.pid ?? 0))?.parent;
  return {
    async transactions() {
      await delay(REPORTED_AFTER_MS);
      const { rows } = await client.query<{ count: number }>(
        "select (xact_commit + xact_rollback)::int as count from pg_stat_database where datname = $1",
        [database],
      );
      return rows[0]?.count ?? Number.NaN;
    },
    async busySeconds() {
      if (server === undefined) return Number.NaN;
      const seconds = (await readProcesses()).map(({ pid, parent, busySeconds, endedChildrenSeconds }) => {
        if (pid === server) return busySeconds + endedChildrenSeconds;
        return parent === server ? busySeconds : 0;
      });
      return seconds.reduce((sum, one) => sum + one, 0);
    },
    close: () => client.end(),
  };
}
