import {
  chmod,
  chown,
  lstat,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { StartupError } from "../../../kernel/errors.ts";
import { run, type User } from "../child-process.ts";
import { createTraversableDir, reason } from "../data-dir.ts";

/** What root keeps for PostgreSQL where the user that it runs as can go, and a reboot does not clear it. */
export const SHARED_FOLDER = "/var/lib/cartwright";

/** Where the database files are or will be, and whom PostgreSQL runs as when that is not ourselves. */
export interface PostgresFolder {
  /** Absolute and without links, except while there are no files yet. */
  path: string;
  user: User | undefined;
}

/**
 * Finds the place of the database files: `postgres` in the data folder. As root, for whom PostgreSQL refuses
 * to run, it is that of the files' owner or of `nobody`; where that user cannot go, `postgres` is a link to a
 * folder of its own under {@link SHARED_FOLDER}. The link is the only reference: who removes the data folder
 * starts with an empty database, and a folder that is moved keeps its own.
 *
 * @param dataDir its real path
 * @throws StartError when somebody else's files are there, or the link leads nowhere
 */
export async function findPostgresFolder(dataDir: string): Promise<PostgresFolder> {
  const name = join(dataDir, "postgres");
  const entry = await lstat(name).catch(() => undefined);
  if (entry === undefined) return newFolder(dataDir, name);
  const path = entry.isSymbolicLink() ? await leadsTo(name) : name;
  const user = await userFor(path);
  if (user !== undefined && !(await canReach(user, dirname(path)))) {
    throw new StartupError(
      `PostgreSQL runs as ${user.name}, who cannot enter ${dirname(path)}. Let others pass through it and the folders above (chmod o+x), or set DATA_DIR to another folder.`,
    );
  }
  return { path, user };
}

async function leadsTo(link: string): Promise<string> {
  const target = resolve(dirname(link), await readlink(link));
  try {
    return join(await realpath(dirname(target)), basename(target));
  } catch {
    throw new StartupError(
      `${link} leads to ${target}, which is gone. Bring it back, or remove ${link} to start with an empty database.`,
    );
  }
}

async function userFor(path: string): Promise<User | undefined> {
  const self = process.getuid?.();
  const owner = await stat(path).catch(() => undefined);
  if (self !== 0) {
    if (owner === undefined || owner.uid === self) return undefined;
    throw new StartupError(
      `${path} belongs to user ${owner.uid}, and you are ${self}. Start as that user, or set DATA_DIR to another folder.`,
    );
  }
  if (owner !== undefined && owner.uid !== 0) {
    const name = (await accounts()).find(({ uid }) => uid === owner.uid)?.name ?? `user ${owner.uid}`;
    return { name, uid: owner.uid, gid: owner.gid };
  }
  const hasFiles = await stat(join(path, "PG_VERSION")).catch(() => undefined);
  if (hasFiles === undefined) return nobody();
  throw new StartupError(
    `${path} belongs to root, as whom PostgreSQL does not run. Give it to another user: chown -R nobody ${path}`,
  );
}

async function newFolder(dataDir: string, name: string): Promise<PostgresFolder> {
  if (process.getuid?.() !== 0) return { path: name, user: undefined };
  const user = await nobody();
  if (await canReach(user, dataDir)) return { path: name, user };
  try {
    await createTraversableDir(SHARED_FOLDER);
    const label = dataDir.replaceAll(/[^\w.]+/g, "-").slice(-60); // tells a person whose it is
    const home = await mkdtemp(join(SHARED_FOLDER, `data${label}-`));
    await chmod(home, 0o711);
    await symlink(join(home, "postgres"), name).catch(async (error: unknown) => {
      await rm(home, { recursive: true });
      throw error;
    });
    return { path: join(home, "postgres"), user };
  } catch (error) {
    throw new StartupError(
      `PostgreSQL runs as ${user.name}, who cannot enter ${dataDir}, and no folder can be made for it under ${SHARED_FOLDER} (${reason(error)}). Set DATA_DIR to a folder that others can enter, or set DATABASE_URL.`,
    );
  }
}

/** The user without rights that root runs things as. */
export async function nobody(): Promise<User> {
  const known = (await accounts()).find(({ name }) => name === "nobody");
  return known ?? { name: "nobody", uid: 65_534, gid: 65_534 };
}

async function accounts(): Promise<User[]> {
  const rows = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  return rows.map((row) => {
    const [name = "", , uid, gid] = row.split(":");
    return { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }; // macOS writes nobody as -2
  });
}

/** Lets the user, and nobody else, pass through when it is only our own private folder that is in the way. */
async function canReach(user: User, folder: string): Promise<boolean> {
  if (await canEnter(user, folder)) return true;
  const { uid, mode } = await stat(folder);
  if (uid !== 0 || (mode & 0o070) !== 0 || !(await canEnter(user, dirname(folder)))) return false;
  await chown(folder, uid, user.gid);
  await chmod(folder, (mode & 0o777) | 0o010);
  return canEnter(user, folder);
}

async function canEnter(user: User, folder: string): Promise<boolean> {
  return (await run("/bin/sh", ["-c", 'cd -- "$1"', "enter", folder], user)).ok;
}
