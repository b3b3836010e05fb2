import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";

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
/** The unit of times in /proc, independent of the kernel's clock: USER_HZ. */
const TICKS_PER_SECOND = 100;

/** Observes a database through another database of the same server, so that the queries do not count. */
export async function openDatabaseLoad(databaseUrl: string): Promise<DatabaseLoad> {
  const url = new URL(databaseUrl);
  const database = decodeURIComponent(url.pathname.slice(1));
  url.pathname = "/postgres";
  const client = new Client({ connectionString: url.href });
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
      const numbers = (await readdir("/proc")).map(Number).filter(Number.isInteger);
      const processes = await Promise.all(numbers.map(readProcess));
      const ticks = processes.map((process) => {
        if (process?.pid === server) return process.ticks + process.ticksOfEnded;
        return process?.parent === server ? process.ticks : 0;
      });
      return ticks.reduce((sum, count) => sum + count, 0) / TICKS_PER_SECOND;
    },
    close: () => client.end(),
  };
}

/** Reads the state of a process; undefined when it has ended or this is not Linux. */
async function readProcess(pid: number) {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is a name that can contain any character; proc_pid_stat(5) numbers fields from 1.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return { pid, parent: field(4), ticks: field(14) + field(15), ticksOfEnded: field(16) + field(17) };
}
