import type { Log } from "../../kernel/log.ts";
import { lockDataDir } from "./data-dir.ts";
import type { EmbeddedStore } from "./embedded-store.ts";
import { startEmbeddedPostgres } from "./postgres/embedded-postgres.ts";
import { startEmbeddedRedis } from "./redis/embedded-redis.ts";

/** The addresses of PostgreSQL and Redis, and the stores that were started for this process. */
export interface Stores {
  databaseUrl: string;
  redisUrl: string;
  /** Whether PostgreSQL was started here. */
  embeddedDatabase: boolean;
  /** A line for each store that was started. */
  started: readonly string[];
  /** Resolves when an embedded PostgreSQL has ended unexpectedly, which has been logged. */
  failed: Promise<void>;
  close(): Promise<void>;
}

export interface StoresOptions {
  dataDir: string;
  /** Undefined: PostgreSQL is started under `dataDir`. */
  databaseUrl: string | undefined;
  /** Undefined: Redis is started under `dataDir`. */
  redisUrl: string | undefined;
}

/**
 * Starts the stores that have no address. They end with this process, however it ends.
 * @throws StartupError if the data folder is in use or a store cannot be started
 */
export async function openStores(options: StoresOptions, log: Log): Promise<Stores> {
  const { dataDir, databaseUrl, redisUrl } = options;
  if (databaseUrl !== undefined && redisUrl !== undefined) {
    const failed = new Promise<void>(() => {});
    return { databaseUrl, redisUrl, embeddedDatabase: false, started: [], failed, close: async () => {} };
  }
  const lock = await lockDataDir(dataDir);
  const stores: EmbeddedStore[] = [];
  const failure = Promise.withResolvers<void>();
  const close = async () => {
    await Promise.all(stores.map((store) => store.stop()));
    await lock.release();
  };
  const startPostgres = async (): Promise<string> => {
    const store = await startEmbeddedPostgres({ dataDir, database: "cartwright" });
    stores.push(store);
    void store.exited.then((reason) => {
      log.error({ reason }, "Embedded PostgreSQL ended; stopping this process");
      failure.resolve();
    });
    return store.url;
  };
  const startRedis = async (): Promise<string> => {
    const store = await startEmbeddedRedis({ dataDir });
    stores.push(store);
    void store.exited.then((reason) => log.warn({ reason }, "Embedded Redis ended; continuing without it"));
    return store.url;
  };
  // Both are awaited even if one fails, so that `close` stops the other.
  const [postgres, redis] = await Promise.allSettled([
    databaseUrl ?? startPostgres(),
    redisUrl ?? startRedis(),
  ]);
  if (postgres.status === "rejected") {
    await close();
    throw postgres.reason;
  }
  if (redis.status === "rejected") {
    await close();
    throw redis.reason;
  }
  return {
    databaseUrl: postgres.value,
    redisUrl: redis.value,
    embeddedDatabase: databaseUrl === undefined,
    // In the same order at each start: PostgreSQL first.
    started: stores.map((store) => store.description).sort(),
    failed: failure.promise,
    close,
  };
}
