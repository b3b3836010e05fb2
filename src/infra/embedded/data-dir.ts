import { mkdir, realpath } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import { acquireLock, type FileLock } from "./file-lock.ts";

/**
 * Creates the folder with access for its owner only, unless it exists.
 * @returns its real, absolute path
 * @throws StartupError if it cannot be created
 */
export async function createDataDir(dataDir: string): Promise<string> {
  try {
    await mkdir(dirname(resolve(dataDir)), { recursive: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    return await realpath(dataDir);
  } catch (error) {
    throw new StartupError(
      `DATA_DIR ${dataDir} cannot be used (${errorMessage(error)}). Set DATA_DIR to another folder.`,
    );
  }
}

/**
 * Locks the folder for this process alone.
 * @throws StartupError naming the process that holds the lock
 */
export async function lockDataDir(dataDir: string): Promise<FileLock> {
  const file = join(await createDataDir(dataDir), "instance.lock");
  return acquireLock(
    file,
    (holder) =>
      `DATA_DIR ${dataDir} is in use by ${holder}. Stop it, or start this one with another DATA_DIR.`,
  );
}
