import { totalmem } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { errorCode } from "../../../kernel/errors.ts";
import { startChild } from "../child-process.ts";
import { createDataDir } from "../data-dir.ts";
import { createEmbeddedStore, type EmbeddedStore } from "../embedded-store.ts";
import { acquireLock } from "../file-lock.ts";
import { writePrivateFile } from "../files.ts";
import { startServer } from "../start-server.ts";
import { isRoot } from "../system-user.ts";
import { stopOrphanedServer } from "./orphaned-server.ts";
import { findPostgresPackage, prepareBinaries } from "./postgres-binaries.ts";
import { POSTGRES_USER, prepareCluster } from "./postgres-cluster.ts";
import { findPostgresFolder, type PostgresFolder, SHARED_FOLDER } from "./postgres-folder.ts";

/** Long enough to replay the write-ahead log of a run that was killed under load, in milliseconds. */
const READY_TIMEOUT_MS = 120_000;
const CONNECT_TIMEOUT_MS = 5_000;
const CONNECT_DELAY_MS = 20;

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  // The path of a socket is limited to 107 bytes, and a data folder's may be longer.
  "unix_socket_directories=",
  // A catalogue of 100,000 products with its indexes fits into 256 MB, most of one of a million into 1 GB.
  `shared_buffers=${Math.round(Math.min(1_024, Math.max(128, totalmem() / 2 ** 20 / 16)))}MB`,
  // Several replicas, each with its pool, the connections of its jobs and those of its outbox.
  "max_connections=300",
  // A seed or import does not stop for checkpoints.
  "max_wal_size=2GB",
  // The files are on an SSD.
  "random_page_cost=1.1",
  // The service logs statements that fail; the server's log stays small.
  "log_min_messages=log",
  "log_checkpoints=off",
];

/** Commits do not wait for the disk: for data that may be lost. */
const SETTINGS_WITHOUT_DURABILITY = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

export interface EmbeddedPostgresOptions {
  dataDir: string;
  /** The name of the database, created if it is missing. */
  database: string;
  /** Whether commits survive a crash. Defaults to true; tests turn it off for speed. */
  durable?: boolean;
}

/**
 * Starts a PostgreSQL server on the files in `<dataDir>/postgres`, which the first start creates. It listens on a free
 * port of 127.0.0.1, requires a password (SCRAM-SHA-256) and ends with this process. `<dataDir>/postgres.url` contains
 * the address for psql, and `<dataDir>/postgres.log` the server's log of this start.
 *
 * @throws StartupError with advice if it cannot be started
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedStore> {
  const { database, durable = true } = options;
  const dataDir = await createDataDir(options.dataDir);
  const folder = await findPostgresFolder(dataDir);
  const lock = await acquireLock(
    `${folder.path}.lock`,
    (holder) => `${folder.path} is in use by ${holder}. Stop it, or set DATA_DIR to another folder.`,
  );
  try {
    const started = await start(dataDir, folder, database, durable);
    return createEmbeddedStore({
      ...started,
      release: () => lock.release(),
      description: describe(options.dataDir, folder, started),
    });
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function start(dataDir: string, folder: PostgresFolder, database: string, durable: boolean) {
  const logFile = join(dataDir, "postgres.log");
  const copyDir = isRoot() ? SHARED_FOLDER : dataDir;
  const binaries = await prepareBinaries(findPostgresPackage(), copyDir, folder.user);
  await stopOrphanedServer(folder.path);
  const password = await prepareCluster(folder, binaries, logFile, durable);
  const urlOf = (port: number, name: string) =>
    `postgres://${POSTGRES_USER}:${password}@127.0.0.1:${port}/${encodeURIComponent(name)}`;
  const settings = durable ? SETTINGS : [...SETTINGS, ...SETTINGS_WITHOUT_DURABILITY];
  const settingArgs = settings.flatMap((setting) => ["-c", setting]);
  const name = `PostgreSQL ${binaries.version}`;
  const { port, server } = await startServer({
    name,
    logFile,
    advice: `Fix the cause, move ${folder.path} away to start with an empty database, or set DATABASE_URL.`,
    spawn: (port, logFd) =>
      startChild([binaries.postgres, "-D", folder.path, "-p", String(port), ...settingArgs], {
        user: folder.user,
        logFd,
      }),
    waitUntilReady: (port, signal) => ensureDatabase(urlOf(port, "postgres"), database, signal),
  });
  const url = urlOf(port, database);
  await writePrivateFile(join(dataDir, "postgres.url"), `${url}\n`);
  return { url, name, port, server, logFile };
}

function describe(
  dataDir: string,
  { path, user }: PostgresFolder,
  { name, port }: { name: string; port: number },
): string {
  const link = join(dataDir, "postgres");
  const isElsewhere = dirname(path).startsWith(SHARED_FOLDER);
  const target = isElsewhere ? `, a link to ${path} because ${user?.name} cannot enter ${dataDir}` : "";
  return `${name} in ${link}${target} (127.0.0.1:${port})`;
}

/** Connects as soon as the server accepts connections, and creates the database if it is missing. */
async function ensureDatabase(url: string, database: string, signal: AbortSignal): Promise<void> {
  const client = await connect(url, signal);
  try {
    const { rowCount } = await client.query(
      `SELECT FROM pg_database WHERE datname = ${pg.escapeLiteral(database)}`,
    );
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(database)}`);
  } finally {
    await client.end();
  }
}

async function connect(url: string, signal: AbortSignal): Promise<pg.Client> {
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
    client.on("error", () => {}); // A query that fails rejects as well.
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (signal.aborted || Date.now() > deadlineMs || !isStarting(error)) throw error;
    }
    await sleep(CONNECT_DELAY_MS, undefined, { signal });
  }
}

/** Returns whether the server does not listen yet, or reports that it is starting up (57P03). */
function isStarting(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ECONNREFUSED" || code === "57P03";
}
