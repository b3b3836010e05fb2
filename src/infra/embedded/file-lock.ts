import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { isProcessAlive } from "./child-process.ts";

const SQLITE_BUSY = 5;
const PID_ATTEMPTS = 20;
const PID_DELAY_MS = 25;

/** A lock that is held until it is released or the process ends. */
export interface FileLock {
  release(): Promise<void>;
}

/** The locks of this process. A database without a reference would be garbage-collected, and its lock released. */
const heldLocks = new Set<DatabaseSync>();

/**
 * Acquires a lock without waiting. It is SQLite's exclusive lock on an empty database: a lock of the operating
 * system on every platform, which ends with the process and also works between containers that share the folder,
 * where process ids mean nothing.
 *
 * @param inUseMessage creates the error message from the holder ("process 1234")
 * @throws StartupError if another process holds the lock, or the file cannot be locked
 */
export async function acquireLock(file: string, inUseMessage: (holder: string) => string): Promise<FileLock> {
  const pidFile = `${file}.pid`;
  const database = openExclusively(file);
  if (database === "busy") throw new StartupError(inUseMessage(await describeHolder(pidFile)));
  heldLocks.add(database);
  await writeFile(pidFile, `${process.pid}\n`);
  return {
    async release() {
      if (!heldLocks.delete(database)) return;
      await rm(pidFile, { force: true });
      database.close();
    },
  };
}

function openExclusively(file: string): DatabaseSync | "busy" {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) return "busy";
    throw new StartupError(
      `${file} cannot be locked (${errorMessage(error)}). Check that you can write to ${dirname(file)}.`,
    );
  }
}

/** Describes the holder by its pid file, which it writes shortly after it has acquired the lock. */
async function describeHolder(pidFile: string): Promise<string> {
  for (let attempt = 0; attempt < PID_ATTEMPTS; attempt++) {
    const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
    if (pid > 0 && isProcessAlive(pid)) return `process ${pid}`;
    await sleep(PID_DELAY_MS);
  }
  return "another process (perhaps in another container)";
}
