import { StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { type Lock, lockDataDir } from "./data-dir.ts";
import type { EmbeddedStore } from "./embedded-store.ts";
import { startEmbeddedPostgres } from "./postgres/embedded-postgres.ts";
import { startEmbeddedRedis } from "./redis/embedded-redis.ts";

/** Where PostgreSQL and Redis are, and what was started to have them. */
export interface Stores {
  databaseUrl: string;
  redisUrl: string;
  /** Whether PostgreSQL was started here. */
  embeddedDatabase: boolean;
  /** What was started, a line each. */
  started: readonly string[];
  /** Resolves when a PostgreSQL that was started here has ended by itself, which is then in the log. */
  failed: Promise<void>;
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
    const failed = new Promise<void>(() => {});
    return { databaseUrl, redisUrl, embeddedDatabase: false, started: [], failed, close: async () => {} };
  }
  const lock: Lock = await lockDataDir(dataDir);
  const stores: EmbeddedStore[] = [];
  let fail = () => {};
  const failed = new Promise<void>((resolve) => {
    fail = resolve;
  });
  const close = async () => {
    await Promise.all(stores.map((store) => store.stop()));
    await lock.release();
  };
  const start = async (starting: Promise<EmbeddedStore>): Promise<EmbeddedStore> => {
    const store = await starting;
    stores.push(store);
    return store;
  };
  const startPostgres = async (): Promise<string> => {
    const { url, exited } = await start(startEmbeddedPostgres({ dataDir, database: "cartwright" }));
    void exited.then((reason) => {
      log.error(
        { reason },
        "The embedded PostgreSQL has ended, and this process ends with it. Start it again.",
      );
      fail();
    });
    return url;
  };
  const startRedis = async (): Promise<string> => {
    const { url, exited } = await start(startEmbeddedRedis({ dataDir }));
    void exited.then((reason) => log.warn({ reason }, "The embedded Redis has ended; going on without it."));
    return url;
  };
  const outcomes = await Promise.allSettled([databaseUrl ?? startPostgres(), redisUrl ?? startRedis()]);
  const [postgres, redis] = outcomes;
  if (postgres.status === "rejected" || redis.status === "rejected") {
    await close();
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    throw failure?.reason ?? new StartupError("The stores did not start.");
  }
  return {
    databaseUrl: postgres.value,
    redisUrl: redis.value,
    embeddedDatabase: databaseUrl === undefined,
    started: stores.map((store) => store.description),
    failed,
    close,
  };
}
