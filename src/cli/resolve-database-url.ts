import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import type { Config } from "../config.ts";
import { openStores } from "../infra/embedded/stores.ts";
import type { Log } from "../kernel/log.ts";

/** The database to work on: DATABASE_URL, that of a shop which runs on DATA_DIR, or one that is started there. */
export async function findDatabase(
  config: Config,
  log: Log,
): Promise<{ url: string; close(): Promise<void> }> {
  const url = config.databaseUrl ?? (await runningDatabase(config.dataDir));
  if (url !== undefined) return { url, close: async () => {} };
  const stores = await openStores(config, log);
  return { url: stores.databaseUrl, close: () => stores.close() };
}

/** The address that a shop left in its data folder, if somebody answers there. */
async function runningDatabase(dataDir: string): Promise<string | undefined> {
  const url = await readFile(join(dataDir, "postgres.url"), "utf8").catch(() => "");
  if (url === "") return undefined;
  const client = new Client({ connectionString: url.trim(), connectionTimeoutMillis: 2_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    return url.trim();
  } catch {
    return undefined;
  } finally {
    await client.end().catch(() => {});
  }
}
