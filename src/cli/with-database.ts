import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import type { Config } from "../config.ts";
import { entities } from "../entities.ts";
import { openStores } from "../infra/embedded/stores.ts";
import { migrate } from "../infra/postgres/migrate.ts";
import { findPendingMigrations } from "../infra/postgres/pending-migrations.ts";
import { readPostgresError } from "../infra/postgres/postgres-errors.ts";
import { StartupError } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";
import { loadCommandConfig } from "./load-command-config.ts";

/** Connection timeout for the database of a running service, in milliseconds. */
const CONNECT_TIMEOUT_MS = 2_000;

/**
 * Runs `work` with the URL of the database that the environment configures, after migrating it: DATABASE_URL, the
 * database of a service that runs on DATA_DIR, or one that is started there and stopped afterwards.
 * @throws StartupError with PostgreSQL's message when the database fails
 */
export async function withDatabase<T>(log: Log, work: (url: string) => Promise<T>): Promise<T> {
  return withUrl(log, async (url) => {
    await migrate(url, entities, log);
    return work(url);
  });
}

/**
 * Runs `work` with the same URL and changes nothing: a database that has not been migrated to this version is rejected.
 * @throws StartupError for a database with an older schema, and with PostgreSQL's message when the database fails
 */
export async function withCurrentDatabase<T>(log: Log, work: (url: string) => Promise<T>): Promise<T> {
  return withUrl(log, async (url) => {
    const pending = await findPendingMigrations(url);
    if (pending.length === 0) return work(url);
    throw new StartupError(
      "The database does not have the schema of this version. Start the service of this version once: it migrates the database.",
    );
  });
}

async function withUrl<T>(log: Log, work: (url: string) => Promise<T>): Promise<T> {
  const { config } = loadCommandConfig(log);
  const { url, close } = await resolveDatabase(config, log);
  try {
    return await work(url);
  } catch (error) {
    const failure = readPostgresError(error);
    if (failure === undefined) throw error;
    throw new StartupError(`The database reported an error: ${failure.message || failure.code}.`);
  } finally {
    await close();
  }
}

async function resolveDatabase(config: Config, log: Log): Promise<{ url: string; close(): Promise<void> }> {
  const url = config.databaseUrl ?? (await findRunningDatabase(config.dataDir));
  if (url !== undefined) return { url, close: async () => {} };
  const stores = await openStores(config, log);
  return { url: stores.databaseUrl, close: () => stores.close() };
}

/**
 * Returns the URL that a running service wrote to its data folder; undefined when nothing accepts connections there.
 */
async function findRunningDatabase(dataDir: string): Promise<string | undefined> {
  const url = (await readFile(join(dataDir, "postgres.url"), "utf8").catch(() => "")).trim();
  if (url === "") return undefined;
  const client = new Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // A refused connection rejects `connect`; an unhandled error event would end the process.
  client.on("error", () => {});
  try {
    await client.connect();
    return url;
  } catch {
    return undefined;
  } finally {
    await client.end().catch(() => {});
  }
}
