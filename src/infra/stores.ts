import { StartError } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";
import { type Lock, lockDataDir } from "./embedded/data-dir.ts";
import { startEmbeddedPostgres } from "./embedded/postgres.ts";
import { startEmbeddedRedis } from "./embedded/redis.ts";
import type { EmbeddedStore } from "./embedded/store.ts";

/** Where PostgreSQL and Redis are, and what was started to have them. */
export interface Stores {
  databaseUrl: string;
  redisUrl: string;
  /** Whether PostgreSQL was started here. */
  embeddedDatabase: boolean;
  /** What was started, a line each. */
  started: readonly string[];
  close(): Promise<void>;
}

/** Absent addresses: that store is started under `dataDir`. */
export interface StoresOptions {
  dataDir: string;
  databaseUrl: string | undefined;
  redisUrl: string | undefined;
}

/**
 * Starts the stores that nobody gave us. They end with this process, however it ends.
 * @throws StartError when the data folder is in use or a store cannot run here
 */
export async function openStores(options: StoresOptions, log: Log): Promise<Stores> {
  const { dataDir, databaseUrl, redisUrl } = options;
  if (databaseUrl !== undefined && redisUrl !== undefined) {
    return { databaseUrl, redisUrl, embeddedDatabase: false, started: [], close: async () => {} };
  }
  const lock: Lock = await lockDataDir(dataDir);
  const stores: EmbeddedStore[] = [];
  const close = async () => {
    await Promise.all(stores.map((store) => store.stop()));
    await lock.release();
  };
  const start = async (starting: Promise<EmbeddedStore>): Promise<EmbeddedStore> => {
    const store = await starting;
    stores.push(store);
    void store.exited.then((reason) => log.error({}, reason));
    return store;
  };
  const outcomes = await Promise.allSettled([
    databaseUrl ?? start(startEmbeddedPostgres({ dataDir, database: "cartwright" })).then(({ url }) => url),
    redisUrl ?? start(startEmbeddedRedis({ dataDir })).then(({ url }) => url),
  ]);
  const [postgres, redis] = outcomes;
  if (postgres.status === "rejected" || redis.status === "rejected") {
    await close();
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    throw failure?.reason ?? new StartError("The stores did not start.");
  }
  return {
    databaseUrl: postgres.value,
    redisUrl: redis.value,
    embeddedDatabase: databaseUrl === undefined,
    started: stores.map((store) => store.description),
    close,
  };
}
