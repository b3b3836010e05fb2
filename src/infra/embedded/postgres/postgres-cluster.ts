import { randomBytes } from "node:crypto";
import { chown, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errorMessage, StartupError } from "../../../kernel/errors.ts";
import { startChild } from "../child-process.ts";
import { syncDir } from "../files.ts";
import { openLogFile, readLastLines } from "../log-file.ts";
import type { SystemUser } from "../system-user.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import type { PostgresFolder } from "./postgres-folder.ts";

/** The superuser of the embedded server. */
export const POSTGRES_USER = "cartwright";

/** Its name in the folder of the database files, so that they are moved and removed together. */
const PASSWORD_FILE = "cartwright.password";

/** initdb ignores signals while it waits for the disk, and an incomplete cluster is removed at the next start. */
const INITDB_GRACE_MS = 200;

/**
 * Creates the database files if there are none, completely or not at all. The caller holds the lock of the folder.
 *
 * @param durable false: the files are not flushed to the disk
 * @returns the superuser's password
 * @throws StartupError if this PostgreSQL cannot use existing files, or cannot create new ones
 */
export async function prepareCluster(
  folder: PostgresFolder,
  binaries: PostgresBinaries,
  logFile: string,
  durable: boolean,
): Promise<string> {
  const { path } = folder;
  await removeIncompleteClusters(path);
  const existingMajor = await readFile(join(path, "PG_VERSION"), "utf8").catch(() => undefined);
  if (existingMajor === undefined) await createCluster(folder, binaries, logFile, durable);
  else checkVersion(path, existingMajor.trim(), binaries.version);
  try {
    return await readFile(join(path, PASSWORD_FILE), "utf8");
  } catch (error) {
    throw new StartupError(
      `The password of the database in ${path} cannot be read (${errorMessage(error)}). Move the folder away to start with an empty database.`,
    );
  }
}

function checkVersion(path: string, existingMajor: string, version: string): void {
  if (existingMajor === version.split(".")[0]) return;
  throw new StartupError(
    `${path} was created by PostgreSQL ${existingMajor}, and this is ${version}. Move the folder away to start with an empty database, or start a PostgreSQL ${existingMajor} on it and set DATABASE_URL.`,
  );
}

/** Removes the files of starts that were killed during {@link createCluster}. */
async function removeIncompleteClusters(path: string): Promise<void> {
  const prefix = `${basename(path)}.incomplete-`;
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix)) {
      await rm(join(dirname(path), name), { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

async function createCluster(
  { path, user }: PostgresFolder,
  binaries: PostgresBinaries,
  logFile: string,
  durable: boolean,
): Promise<void> {
  if ((await readdir(path).catch(() => [])).length > 0) {
    throw new StartupError(`${path} contains files that are not a database. Move them away.`);
  }
  // The name is reserved for incomplete clusters.
  const temporary = await mkdtemp(`${path}.incomplete-`);
  const files = join(temporary, "files");
  const passwordFile = join(temporary, PASSWORD_FILE);
  await writeFile(passwordFile, randomBytes(24).toString("base64url"), { mode: 0o600, flush: durable });
  if (user) {
    await chown(temporary, user.uid, user.gid);
    await chown(passwordFile, user.uid, user.gid);
  }
  await runInitdb(initdbCommand(binaries.initdb, files, passwordFile, durable), user, logFile);
  await rename(passwordFile, join(files, PASSWORD_FILE));
  await rename(files, path);
  await rm(temporary, { recursive: true });
  if (durable) await syncDir(dirname(path));
}

function initdbCommand(initdb: string, files: string, passwordFile: string, durable: boolean): string[] {
  const command = [
    initdb,
    `--pgdata=${files}`,
    `--username=${POSTGRES_USER}`,
    "--auth=scram-sha-256",
    `--pwfile=${passwordFile}`,
    "--encoding=UTF8",
    // The builtin provider's rules do not change under an index when the system is upgraded. pg_trgm still takes
    // its letters from LC_CTYPE: with C it would find none in Greek or é.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    `--lc-ctype=${process.platform === "darwin" ? "UTF-8" : "C.UTF-8"}`,
    "--no-instructions",
  ];
  return durable ? command : [...command, "--no-sync"];
}

async function runInitdb(
  command: readonly string[],
  user: SystemUser | undefined,
  logFile: string,
): Promise<void> {
  const log = await openLogFile(logFile);
  const child = startChild(command, { user, logFd: log.fd, graceMs: INITDB_GRACE_MS });
  const { ok, text } = await child.ended.finally(() => log.close());
  if (ok) return;
  throw new StartupError(
    `PostgreSQL could not create its files (initdb: ${text}):\n${await readLastLines(logFile)}\nFree disk space, set DATA_DIR to another folder, or set DATABASE_URL.`,
  );
}
