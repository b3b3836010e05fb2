import { totalmem } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { startChild } from "../child-process.ts";
import { acquireLock, createDataDir, writePrivateFile } from "../data-dir.ts";
import { createEmbeddedStore, type EmbeddedStore, startServer } from "../embedded-store.ts";
import { postgresPackage, usableBinaries } from "./postgres-binaries.ts";
import { clearFormerRun, POSTGRES_USER, prepareCluster } from "./postgres-cluster.ts";
import { findPostgresFolder, type PostgresFolder, SHARED_FOLDER } from "./postgres-folder.ts";

/** Long enough to replay the log of a run that was killed under load. */
const READY_WITHIN_MS = 120_000;

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=", // their paths may be 107 bytes long, a data folder's may be longer
  // A catalogue of 100,000 products with its indexes stays in 256 MB, one of a million mostly in 1 GB.
  `shared_buffers=${Math.round(Math.min(1_024, Math.max(128, totalmem() / 2 ** 20 / 16)))}MB`,
  "max_wal_size=2GB", // a seed or import does not stop for checkpoints
  "random_page_cost=1.1", // the files are on an SSD
  "log_min_messages=log", // statements that fail are the service's to log; keeps the file small
  "log_checkpoints=off",
];

/** For data that nobody will miss: commits do not wait for the disk. */
const NOT_DURABLE = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/**
 * Starts a PostgreSQL of our own on the files in `<dataDir>/postgres`, made at the first start, and makes the
 * database if it is missing. It listens on a free port of 127.0.0.1, asks for a password (SCRAM-SHA-256) and
 * ends when this process does, in whatever way. `<dataDir>/postgres.url` has the address for psql, and
 * `<dataDir>/postgres.log` what it says since this start.
 *
 * @param database its name; `durable` false gives safety up for speed (tests)
 * @throws StartError when it cannot be started, with what to do
 */
export async function startEmbeddedPostgres(o: {
  dataDir: string;
  database: string;
  durable?: boolean;
}): Promise<EmbeddedStore> {
  const dataDir = await createDataDir(o.dataDir);
  const folder = await findPostgresFolder(dataDir);
  const lock = await acquireLock(
    `${folder.path}.lock`,
    (holder) => `${folder.path} is in use by ${holder}. Stop it, or set DATA_DIR to another folder.`,
  );
  try {
    const started = await start(dataDir, folder, o.database, o.durable ?? true);
    return createEmbeddedStore({
      ...started,
      release: () => lock.release(),
      description: describe(o.dataDir, folder, started),
    });
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function start(dataDir: string, folder: PostgresFolder, database: string, durable: boolean) {
  const logFile = join(dataDir, "postgres.log");
  const copyTo = process.getuid?.() === 0 ? SHARED_FOLDER : dataDir;
  const binaries = await usableBinaries(postgresPackage(), copyTo, folder.user);
  await clearFormerRun(folder.path);
  const password = await prepareCluster(folder, binaries, logFile, durable);
  const urlOf = (port: number, name: string) =>
    `postgres://${POSTGRES_USER}:${password}@127.0.0.1:${port}/${encodeURIComponent(name)}`;
  const settings = [...SETTINGS, ...(durable ? [] : NOT_DURABLE)].flatMap((setting) => ["-c", setting]);
  const name = `PostgreSQL ${binaries.version}`;
  const { port, server } = await startServer({
    name,
    logFile,
    advice: `Mend that, move ${folder.path} away to start with an empty database, or set DATABASE_URL.`,
    spawn: (port, logFd) =>
      startChild([binaries.postgres, "-D", folder.path, "-p", String(port), ...settings], {
        user: folder.user,
        logFd,
      }),
    answers: (port, signal) => makeDatabase(urlOf(port, "postgres"), database, signal),
  });
  const url = urlOf(port, database);
  await writePrivateFile(join(dataDir, "postgres.url"), `${url}\n`);
  return { url, name, port, server, logFile };
}

function describe(
  dataDir: string,
  { path, user }: PostgresFolder,
  o: { name: string; port: number },
): string {
  const link = join(dataDir, "postgres");
  const isElsewhere = dirname(path).startsWith(SHARED_FOLDER);
  const why = isElsewhere ? `, which leads to ${path} as ${user?.name} cannot enter ${dataDir}` : "";
  return `${o.name} in ${link}${why} (127.0.0.1:${o.port})`;
}

/** Connects as soon as that is possible, and makes the database if it is missing. */
async function makeDatabase(url: string, database: string, signal: AbortSignal): Promise<void> {
  const client = await connect(url, signal);
  try {
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(database)}`);
  } finally {
    await client.end();
  }
}

async function connect(url: string, signal: AbortSignal): Promise<pg.Client> {
  for (const until = Date.now() + READY_WITHIN_MS; ; await delay(20, undefined, { signal })) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    client.on("error", () => {}); // a query that fails says so itself
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (signal.aborted || Date.now() > until || !isStillStarting(error)) throw error;
    }
  }
}

/** Nobody listens yet, or the server says that it is starting up (57P03). */
function isStillStarting(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && (error.code === "ECONNREFUSED" || error.code === "57P03")
  );
}
