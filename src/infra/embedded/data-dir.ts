import { constants } from "node:fs";
import {
  chmod,
  type FileHandle,
  mkdir,
  open,
  readFile,
  realpath,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { StartupError } from "../../kernel/errors.ts";
import { isAlive } from "./child-process.ts";

const SQLITE_BUSY = 5;

/** What makes a lock ours, until it is released or the process is gone. */
export interface Lock {
  release(): Promise<void>;
}

/** Locks of this process: a database that nothing refers to would be collected, and its lock with it. */
const held = new Set<DatabaseSync>();

/**
 * Makes the folder if it is missing, for us alone, and gives its real, absolute path.
 * @throws StartError when it cannot be made
 */
export async function createDataDir(dataDir: string): Promise<string> {
  try {
    await mkdir(dirname(resolve(dataDir)), { recursive: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    return await realpath(dataDir);
  } catch (error) {
    throw new StartupError(
      `DATA_DIR ${dataDir} cannot be used (${reason(error)}). Set DATA_DIR to another folder.`,
    );
  }
}

/** Makes the folder, if it is missing, for others to pass through but not to list, whatever the umask is. */
export async function createTraversableDir(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true });
  if (made !== undefined) await chmod(folder, 0o711);
}

/**
 * Makes this process the only one on that folder.
 * @throws StartError that names the process that has it
 */
export async function lockDataDir(dataDir: string): Promise<Lock> {
  const lock = join(await createDataDir(dataDir), "instance.lock");
  return acquireLock(
    lock,
    (holder) =>
      `DATA_DIR ${dataDir} is in use by ${holder}. Stop it, or start this one with another DATA_DIR.`,
  );
}

/**
 * Takes the lock of that name, at once or not at all. It is SQLite's exclusive lock on an empty database: a
 * lock of the kernel on every platform, which ends with the process and also holds between containers that
 * share the folder, where process ids mean nothing.
 *
 * @param inUse makes the message from who holds it ("process 1234")
 * @throws StartError
 */
export async function acquireLock(file: string, inUse: (holder: string) => string): Promise<Lock> {
  const pidFile = `${file}.pid`;
  const database = openExclusive(file);
  if (database === "busy") throw new StartupError(inUse(await holderOf(pidFile)));
  held.add(database);
  await writeFile(pidFile, `${process.pid}\n`);
  return {
    async release() {
      if (!held.delete(database)) return;
      await rm(pidFile, { force: true });
      database.close();
    },
  };
}

function openExclusive(file: string): DatabaseSync | "busy" {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) return "busy";
    throw new StartupError(
      `${file} cannot be locked (${reason(error)}). Is ${dirname(file)} writable for you?`,
    );
  }
}

/** The holder writes its number just after it has the lock, so a moment's patience is due. */
async function holderOf(pidFile: string): Promise<string> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
    if (pid > 0 && isAlive(pid)) return `process ${pid}`;
    await delay(25);
  }
  return "another process (in another container, perhaps)";
}

/** Writes a file that only we may read, whole or not at all. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  const half = `${file}.new`;
  await rm(half, { force: true });
  await writeFile(half, text, { mode: 0o600, flag: "wx" });
  await rename(half, file);
}

/** Makes a rename in that folder survive a power cut. */
export async function syncDir(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

/** Opens a store's log, empty. Who writes to it appends: a former store may still have words to add. */
export function openLogFile(file: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } = constants;
  return open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600);
}

/** The last lines of a log, each indented, for a message to a person. */
export async function readLastLines(file: string, count = 20): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  const lines = text.trimEnd().split("\n").slice(-count);
  return lines.map((line) => `  ${line}`).join("\n");
}

/** Why a system call failed, in its own words. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
