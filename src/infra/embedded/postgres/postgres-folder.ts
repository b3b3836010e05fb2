import { chmod, chown, lstat, mkdtemp, readlink, realpath, rm, stat, symlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { errorMessage, StartupError } from "../../../kernel/errors.ts";
import { createTraversableDir } from "../files.ts";
import { runProgram } from "../run-program.ts";
import { findNobody, findUserName, isRoot, type SystemUser } from "../system-user.ts";

/** Folder of root for files that PostgreSQL's user must reach. A reboot does not clear it. */
export const SHARED_FOLDER = "/var/lib/cartwright";

/** The folder of the database files, which may not exist yet. */
export interface PostgresFolder {
  /** Absolute, and without links if it exists. */
  path: string;
  /** The user as which PostgreSQL runs; undefined: the user of this process. */
  user: SystemUser | undefined;
}

/**
 * Finds the folder of the database files: `postgres` in the data folder. PostgreSQL does not run as root: then it
 * runs as the owner of the files, or as `nobody`. If that user cannot enter the data folder, `postgres` is a link to
 * a folder under {@link SHARED_FOLDER}. The link is the only reference: without the data folder the next start has
 * an empty database, and a data folder that is moved keeps its database.
 *
 * @param dataDir its real path
 * @throws StartupError if the files belong to another user, or the link is broken
 */
export async function findPostgresFolder(dataDir: string): Promise<PostgresFolder> {
  const name = join(dataDir, "postgres");
  const entry = await lstat(name).catch(() => undefined);
  if (entry === undefined) return createFolder(dataDir, name);
  const path = entry.isSymbolicLink() ? await resolveLink(name) : name;
  const user = await findUser(path);
  if (user !== undefined && !(await ensureAccess(user, dirname(path)))) {
    throw new StartupError(
      `PostgreSQL runs as ${user.name}, who cannot enter ${dirname(path)}. Allow it for that folder and those above (chmod o+x), or set DATA_DIR to another folder.`,
    );
  }
  return { path, user };
}

async function resolveLink(link: string): Promise<string> {
  const target = resolve(dirname(link), await readlink(link));
  try {
    return join(await realpath(dirname(target)), basename(target));
  } catch {
    throw new StartupError(
      `${link} is a link to ${target}, which does not exist. Restore it, or remove ${link} to start with an empty database.`,
    );
  }
}

async function findUser(path: string): Promise<SystemUser | undefined> {
  const owner = await stat(path).catch(() => undefined);
  if (!isRoot()) {
    const uid = process.getuid?.();
    if (owner === undefined || owner.uid === uid) return undefined;
    throw new StartupError(
      `${path} belongs to user ${owner.uid}, and you are user ${uid}. Start as that user, or set DATA_DIR to another folder.`,
    );
  }
  if (owner !== undefined && owner.uid !== 0) {
    return { name: await findUserName(owner.uid), uid: owner.uid, gid: owner.gid };
  }
  const hasFiles = await stat(join(path, "PG_VERSION")).catch(() => undefined);
  if (hasFiles === undefined) return findNobody();
  throw new StartupError(
    `${path} belongs to root, and PostgreSQL does not run as root. Change its owner: chown -R nobody ${path}`,
  );
}

async function createFolder(dataDir: string, name: string): Promise<PostgresFolder> {
  if (!isRoot()) return { path: name, user: undefined };
  const user = await findNobody();
  if (await ensureAccess(user, dataDir)) return { path: name, user };
  try {
    await createTraversableDir(SHARED_FOLDER);
    // Names the data folder that the database belongs to.
    const label = dataDir.replaceAll(/[^\w.]+/g, "-").slice(-60);
    const home = await mkdtemp(join(SHARED_FOLDER, `data${label}-`));
    await chmod(home, 0o711);
    await symlink(join(home, "postgres"), name).catch(async (error: unknown) => {
      await rm(home, { recursive: true });
      throw error;
    });
    return { path: join(home, "postgres"), user };
  } catch (error) {
    throw new StartupError(
      `PostgreSQL runs as ${user.name}, who cannot enter ${dataDir}, and no folder can be created for it under ${SHARED_FOLDER} (${errorMessage(error)}). Set DATA_DIR to a folder that others can enter, or set DATABASE_URL.`,
    );
  }
}

/**
 * Returns whether the user can enter the folder. If nothing but this private folder of root prevents it, lets the
 * user's group enter it.
 */
async function ensureAccess(user: SystemUser, folder: string): Promise<boolean> {
  if (await canEnter(user, folder)) return true;
  const { uid, mode } = await stat(folder);
  if (uid !== 0 || (mode & 0o070) !== 0 || !(await canEnter(user, dirname(folder)))) return false;
  await chown(folder, uid, user.gid);
  await chmod(folder, (mode & 0o777) | 0o010);
  return canEnter(user, folder);
}

async function canEnter(user: SystemUser, folder: string): Promise<boolean> {
  return (await runProgram("/bin/sh", ["-c", 'cd -- "$1"', "enter", folder], user)).ok;
}
