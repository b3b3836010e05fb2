import { randomBytes } from "node:crypto";
import { chown, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StartupError } from "../../../kernel/errors.ts";
import { type ChildHandle, isAlive, run, startChild } from "../child-process.ts";
import { openLogFile, readLastLines, reason, syncDir } from "../data-dir.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import type { PostgresFolder } from "./postgres-folder.ts";

/** The superuser of the embedded server. */
export const POSTGRES_USER = "cartwright";

/** Beside the files it opens, so that they move, and are removed, together. */
const PASSWORD_FILE = "cartwright.password";

/** What ends a server, and how long each step is given: finish, drop everything, die. */
const ENDING = [
  ["SIGINT", 10_000],
  ["SIGQUIT", 3_000],
  ["SIGKILL", 2_000],
] as const;

/** No process has this number, on any platform. */
const NO_PID = 2_147_483_647;

/**
 * Makes the database files if there are none, whole or not at all, and gives the superuser's password. The
 * caller holds the lock of the folder.
 *
 * @param durable false: not flushed to the disk
 * @throws StartError when files are there that this PostgreSQL cannot use, or none can be made
 */
export async function prepareCluster(
  folder: PostgresFolder,
  binaries: PostgresBinaries,
  logFile: string,
  durable: boolean,
): Promise<string> {
  const { path } = folder;
  await removeHalfMade(path);
  const madeBy = await readFile(join(path, "PG_VERSION"), "utf8").catch(() => undefined);
  if (madeBy === undefined) await makeCluster(folder, binaries, logFile, durable);
  else checkVersion(path, madeBy.trim(), binaries.version);
  try {
    return await readFile(join(path, PASSWORD_FILE), "utf8");
  } catch (error) {
    throw new StartupError(
      `The password of the database in ${path} cannot be read (${reason(error)}). Move the folder away to start with an empty database.`,
    );
  }
}

function checkVersion(path: string, madeBy: string, version: string): void {
  if (madeBy === version.split(".")[0]) return;
  throw new StartupError(
    `${path} was made by PostgreSQL ${madeBy}, and this is ${version}. Move the folder away to start with an empty database, or start a PostgreSQL ${madeBy} on it and set DATABASE_URL.`,
  );
}

/** What a start left that was killed in the middle of {@link makeCluster}. */
async function removeHalfMade(path: string): Promise<void> {
  const prefix = `${basename(path)}.half-`;
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix)) {
      await rm(join(dirname(path), name), { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

async function makeCluster(
  { path, user }: PostgresFolder,
  binaries: PostgresBinaries,
  logFile: string,
  durable: boolean,
): Promise<void> {
  if ((await readdir(path).catch(() => [])).length > 0) {
    throw new StartupError(`${path} has files in it that are no database. Move them away.`);
  }
  const half = await mkdtemp(`${path}.half-`);
  const files = join(half, "files");
  const password = join(half, PASSWORD_FILE);
  await writeFile(password, randomBytes(24).toString("base64url"), { mode: 0o600, flush: durable });
  if (user) for (const own of [half, password]) await chown(own, user.uid, user.gid);
  await runInitdb(logFile, (logFd) =>
    startChild(
      [
        ...[
          binaries.initdb,
          "-D",
          files,
          "-U",
          POSTGRES_USER,
          "--auth=scram-sha-256",
          `--pwfile=${password}`,
        ],
        // Rules of Unicode that no upgrade of the system changes under an index. pg_trgm still asks the system
        // what a letter is: with LC_CTYPE C it would see none in Greek or é.
        ...["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
        `--lc-ctype=${process.platform === "darwin" ? "UTF-8" : "C.UTF-8"}`,
        ...["--no-instructions", ...(durable ? [] : ["--no-sync"])],
      ],
      // Half of a cluster is worth nothing, and initdb hears no signal while it waits for the disk.
      { user, logFd, patienceMs: 200 },
    ),
  );
  await rename(password, join(files, PASSWORD_FILE));
  await rename(files, path);
  await rm(half, { recursive: true });
  if (durable) await syncDir(dirname(path));
}

async function runInitdb(logFile: string, spawn: (logFd: number) => ChildHandle): Promise<void> {
  const log = await openLogFile(logFile);
  const { ok, text } = await spawn(log.fd).ended.finally(() => log.close());
  if (ok) return;
  throw new StartupError(
    `PostgreSQL could not make its files (initdb: ${text}):\n${await readLastLines(logFile)}\nMake room or set DATA_DIR to another folder, or set DATABASE_URL.`,
  );
}

/**
 * Sees to what a killed run left: waits for its server to finish, ends it if it does not, and takes the number
 * out of `postmaster.pid` that by now is another program's, which would keep PostgreSQL from starting. The
 * caller holds the lock of the folder, so no living run owns that server.
 *
 * @throws StartError when it does not end
 */
export async function clearFormerRun(path: string): Promise<void> {
  const file = join(path, "postmaster.pid");
  const pid = Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10);
  if (!(pid > 0)) return;
  if (!(await hasEnded(pid, path))) {
    throw new StartupError(
      `A PostgreSQL of a former run (process ${pid}) still uses ${path} and does not end. Kill it.`,
    );
  }
  if (isAlive(pid)) await forgetPid(file);
}

async function hasEnded(pid: number, path: string): Promise<boolean> {
  for (const [signal, patienceMs] of ENDING) {
    if (!(await isServerOf(pid, path))) return true;
    try {
      process.kill(pid, signal);
    } catch {
      continue; // it has just ended, or is not ours to end: the next look tells
    }
    const until = Date.now() + patienceMs;
    while (Date.now() < until && (await isServerOf(pid, path))) await delay(25);
  }
  return !(await isServerOf(pid, path));
}

/** False for a program that merely got its number, and for one that is dead but not yet buried. */
async function isServerOf(pid: number, path: string): Promise<boolean> {
  return isAlive(pid) && (await commandLine(pid)).includes(`-D ${path} `);
}

/** A program and its arguments, a space after each. */
async function commandLine(pid: number): Promise<string> {
  if (process.platform !== "linux") {
    return `${(await run("/bin/ps", ["-o", "command=", "-p", `${pid}`])).output} `;
  }
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
}

/** Keeps the file: its line on shared memory is how PostgreSQL finds leftover processes of its own. */
async function forgetPid(file: string): Promise<void> {
  const owner = await stat(file).catch(() => undefined);
  if (owner === undefined) return; // the server removed it as it ended
  const changed = `${file}.new`;
  await writeFile(changed, (await readFile(file, "utf8")).replace(/^\d+/, String(NO_PID)), { mode: 0o600 });
  await chown(changed, owner.uid, owner.gid);
  await rename(changed, file);
}
